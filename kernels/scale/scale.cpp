#include "kernels/scale/scale.h"

#include <fmt/format.h>

#include "kernels/core/profile_range.h"

namespace zeroth {

std::string ScaleParams::to_string() const {
  return fmt::format("{} x {} by {}", elements, name_of(dtype), factor);
}

std::span<const ScaleRow> scale_rows() {
  static const ScaleRow rows[] = {cuda_native::scale_row, simt_native::scale_row, cpu::scale_row,
                                  reference::scale_row};
  return rows;
}

namespace {

void run(Context& context, double factor, ConstTensorView x, TensorView y, GradMode mode) {
  const ScaleParams params{x.elements(), factor, x.dtype};
  const ScaleRow& row = select_row(
      context, "scale", scale_rows(), [&](const ScaleRow& one) { return one.supports(params); },
      [&] { return params.to_string(); });
  const ProfileRange range("scale", row.name);
  row.forward(context, params, x, y, mode);
}

}  // namespace

void scale_forward(Context& context, double factor, ConstTensorView x, TensorView y) {
  check_operand("scale", "x", x, x.shape, x.dtype);
  check_operand("scale", "y", y, x.shape, x.dtype);
  run(context, factor, x, y, GradMode::overwrite);
}

void scale_backward(Context& context, double factor, ConstTensorView dy, TensorView dx, GradMode mode) {
  if (mode == GradMode::skip) return;
  check_operand("scale backward", "dy", dy, dy.shape, dy.dtype);
  check_operand("scale backward", "dx", dx, dy.shape, dy.dtype);
  run(context, factor, dy, dx, mode);
}

}  // namespace zeroth
