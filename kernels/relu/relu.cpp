#include "kernels/relu/relu.h"

#include "kernels/core/profile_range.h"

namespace zeroth {

std::span<const ReluRow> relu_rows() {
  static const ReluRow rows[] = {cuda_native::relu_row, simt_native::relu_row, cpu::relu_row,
                                 reference::relu_row};
  return rows;
}

namespace {
const ReluRow& select(const Context& context, const ReluParams& params) {
  return select_row(
      context, "relu", relu_rows(), [&](const ReluRow& row) { return row.supports(params); },
      [&] { return std::to_string(params.elements) + " x " + name_of(params.dtype); });
}
}  // namespace

void relu_forward(Context& context, ConstTensorView x, TensorView y) {
  const ReluParams params{x.elements(), x.dtype};
  check_operand("relu", "x", x, x.shape, x.dtype);
  check_operand("relu", "y", y, x.shape, x.dtype);
  const ReluRow& row = select(context, params);
  const ProfileRange range("relu_forward", row.name);
  row.forward(context, params, x, y);
}

void relu_backward(Context& context, ConstTensorView dy, ConstTensorView y, TensorView dx, GradMode mode) {
  if (mode == GradMode::skip) return;
  const ReluParams params{y.elements(), y.dtype};
  check_operand("relu backward", "y", y, y.shape, y.dtype);
  check_operand("relu backward", "dy", dy, y.shape, y.dtype);
  check_operand("relu backward", "dx", dx, y.shape, y.dtype);
  const ReluRow& row = select(context, params);
  const ProfileRange range("relu_backward", row.name);
  row.backward(context, params, dy, y, dx, mode);
}

}  // namespace zeroth
