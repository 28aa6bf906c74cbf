#include "kernels/mixup/mixup.h"

#include <fmt/format.h>

#include "kernels/core/profile_range.h"

namespace zeroth {

std::string MixupParams::to_string() const {
  return fmt::format("{} rows of {} {}", n, row_elements, name_of(dtype));
}

std::span<const MixupRow> mixup_rows() {
  static const MixupRow rows[] = {cuda_native::mixup_row, simt_native::mixup_row, cpu::mixup_row,
                                  reference::mixup_row};
  return rows;
}

void mixup_forward(Context& context, TensorView x, ConstTensorView labels, ConstTensorView share,
                   TensorView other_labels) {
  if (x.shape.rank() < 1) fail(ErrorKind::usage, "mixup: x has no rows");
  const std::int64_t n = x.shape[0];
  const MixupParams params{n, n == 0 ? 0 : x.elements() / n, x.dtype};
  check_operand("mixup", "x", x, x.shape, x.dtype);
  check_operand("mixup", "labels", labels, {n}, DType::i32);
  check_operand("mixup", "share", share, {1}, statistics_dtype(x.dtype));
  check_operand("mixup", "other_labels", other_labels, {n}, DType::i32);
  const MixupRow& row = select_row(
      context, "mixup", mixup_rows(), [&](const MixupRow& candidate) { return candidate.supports(params); },
      [&] { return params.to_string(); });
  const ProfileRange range("mixup_forward", row.name);
  row.forward(context, params, x, labels, share, other_labels);
}

}  // namespace zeroth
