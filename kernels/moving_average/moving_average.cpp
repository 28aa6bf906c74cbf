#include "kernels/moving_average/moving_average.h"

#include <fmt/format.h>

#include "kernels/core/profile_range.h"

namespace zeroth {

std::string MovingAverageParams::to_string() const {
  return fmt::format("{} x {}, every {}{}{}", elements, name_of(dtype), every, warm_up ? ", warmed up" : "",
                     write_back ? ", written back" : "");
}

std::span<const MovingAverageRow> moving_average_rows() {
  static const MovingAverageRow rows[] = {cuda_native::moving_average_row, simt_native::moving_average_row,
                                          cpu::moving_average_row, reference::moving_average_row};
  return rows;
}

void moving_average_step(Context& context, const MovingAverageParams& params,
                         const MovingAverageOperands& operands) {
  constexpr const char* kName = "moving_average";
  if (params.elements < 0 || params.elements % kParameterSegment != 0)
    fail(ErrorKind::usage, fmt::format("{}: {} elements are not whole segments of {}", kName, params.elements,
                                       kParameterSegment));
  if (params.every < 1)
    fail(ErrorKind::usage, fmt::format("{}: every {} steps, expected at least 1", kName, params.every));
  if (params.elements == 0) return;
  check_operand(kName, "values", operands.values, {params.elements}, params.dtype);
  check_operand(kName, "average", operands.average, {params.elements}, params.dtype);
  check_operand(kName, "share", operands.share, {1}, params.dtype);
  if (operands.updates || params.every > 1 || params.warm_up)
    check_operand(kName, "updates", operands.updates, {1}, DType::i32);
  if (operands.gradient_factor)
    check_operand(kName, "gradient_factor", operands.gradient_factor, {1}, params.dtype);
  if (params.mixed()) {
    check_operand(kName, "group_of_segment", operands.group_of_segment, {params.elements / kParameterSegment},
                  DType::u8);
    check_operand(kName, "working_weights", operands.working_weights, {params.elements}, params.working);
  }
  const MovingAverageRow& row = select_row(
      context, kName, moving_average_rows(),
      [&](const MovingAverageRow& candidate) { return candidate.supports(params); },
      [&] { return params.to_string(); });
  const ProfileRange range("moving_average_step", row.name);
  row.step(context, params, operands);
}

}  // namespace zeroth
