#include "kernels/gelu/gelu.h"

#include <fmt/format.h>

#include "kernels/core/profile_range.h"

namespace zeroth {

std::string GeluParams::to_string() const {
  return fmt::format("{} x {}", elements, name_of(dtype));
}

std::span<const GeluRow> gelu_rows() {
  static const GeluRow rows[] = {cuda_native::gelu_row, simt_native::gelu_row, cpu::gelu_row,
                                 reference::gelu_row};
  return rows;
}

namespace {
const GeluRow& select(const Context& context, const GeluParams& params) {
  return select_row(
      context, "gelu", gelu_rows(), [&](const GeluRow& row) { return row.supports(params); },
      [&] { return params.to_string(); });
}
}  // namespace

void gelu_forward(Context& context, ConstTensorView x, TensorView y) {
  const GeluParams params{x.elements(), x.dtype};
  check_operand("gelu", "x", x, x.shape, x.dtype);
  check_operand("gelu", "y", y, x.shape, x.dtype);
  const GeluRow& row = select(context, params);
  const ProfileRange range("gelu_forward", row.name);
  row.forward(context, params, x, y);
}

void gelu_backward(Context& context, ConstTensorView dy, ConstTensorView x, TensorView dx, GradMode mode) {
  if (mode == GradMode::skip) return;
  const GeluParams params{x.elements(), x.dtype};
  check_operand("gelu backward", "x", x, x.shape, x.dtype);
  check_operand("gelu backward", "dy", dy, x.shape, x.dtype);
  check_operand("gelu backward", "dx", dx, x.shape, x.dtype);
  const GeluRow& row = select(context, params);
  const ProfileRange range("gelu_backward", row.name);
  row.backward(context, params, dy, x, dx, mode);
}

}  // namespace zeroth
