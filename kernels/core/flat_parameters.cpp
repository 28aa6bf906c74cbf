#include "kernels/core/flat_parameters.h"

#include <fmt/format.h>

namespace zeroth {

std::string FlatParams::to_string() const {
  return fmt::format("{} x {}{}, {} group{}", elements, name_of(dtype),
                     mixed() ? fmt::format(" and {}", name_of(working)) : "", groups, groups == 1 ? "" : "s");
}

void check_flat_parameters(const char* operation, const FlatParams& params, const FlatParameters& operands) {
  if (params.elements < 0 || params.elements % kParameterSegment != 0)
    fail(ErrorKind::usage, fmt::format("{}: {} elements are not whole segments of {}", operation,
                                       params.elements, kParameterSegment));
  if (params.groups < 1 || params.groups > kWorkingSegment)
    fail(ErrorKind::usage,
         fmt::format("{}: {} parameter groups, expected 1 to {}", operation, params.groups, kWorkingSegment));
  if (params.mixed() && params.working != DType::bf16 && params.working != DType::f16)
    fail(ErrorKind::usage,
         fmt::format("{}: working weights in {}, expected bf16 or f16", operation, name_of(params.working)));
  const Shape flat{params.elements};
  check_operand(operation, "weights", operands.weights, flat, params.dtype);
  check_operand(operation, "gradients", operands.gradients, flat, params.dtype);
  check_operand(operation, "group_of_segment", operands.group_of_segment,
                {params.elements / kParameterSegment}, DType::u8);
  check_operand(operation, "rates", operands.rates, {params.groups, 2}, statistics_dtype(params.dtype));
  if (operands.gradient_factor)
    check_operand(operation, "gradient_factor", operands.gradient_factor, {1},
                  statistics_dtype(params.dtype));
  if (!params.mixed()) return;
  check_operand(operation, "working_weights", operands.working_weights, flat, params.working);
  check_operand(operation, "working_gradients", operands.working_gradients, flat, params.working);
}

}  // namespace zeroth
