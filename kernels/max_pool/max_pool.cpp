#include "kernels/max_pool/max_pool.h"

#include <fmt/format.h>

#include "kernels/core/profile_range.h"

namespace zeroth {

std::string MaxPoolParams::to_string() const {
  return fmt::format("{}x{}x{}x{} {}x{} /{} +{} {}", n, h, w, c, window, window, stride, padding,
                     name_of(dtype));
}

std::span<const MaxPoolRow> max_pool_rows() {
  static const MaxPoolRow rows[] = {cuda_native::max_pool_row, simt_native::max_pool_row, cpu::max_pool_row,
                                    reference::max_pool_row};
  return rows;
}

namespace {

const MaxPoolRow& select(const Context& context, const MaxPoolParams& params) {
  if (params.n < 0 || params.h < 1 || params.w < 1 || params.c < 1 || params.window < 1 ||
      params.window > 15 || params.stride < 1 || params.padding < 0 || 2 * params.padding > params.window)
    fail(ErrorKind::usage,
         "max_pool: sizes must be positive, the window at most 15 and at least twice the padding: " +
             params.to_string());
  if (params.h + 2 * params.padding < params.window || params.w + 2 * params.padding < params.window)
    fail(ErrorKind::usage, "max_pool: the window is larger than the padded picture: " + params.to_string());
  return select_row(
      context, "max_pool", max_pool_rows(), [&](const MaxPoolRow& row) { return row.supports(params); },
      [&] { return params.to_string(); });
}

}  // namespace

void max_pool_forward(Context& context, const MaxPoolParams& params, ConstTensorView x, TensorView y,
                      TensorView winner) {
  const MaxPoolRow& row = select(context, params);
  const ProfileRange range("max_pool_forward", row.name);
  check_operand("max_pool", "x", x, params.x_shape(), params.dtype);
  check_operand("max_pool", "y", y, params.y_shape(), params.dtype);
  check_operand("max_pool", "winner", winner, params.y_shape(), DType::u8);
  row.forward(context, params, x, y, winner);
}

void max_pool_backward(Context& context, const MaxPoolParams& params, ConstTensorView dy,
                       ConstTensorView winner, TensorView dx, GradMode mode) {
  if (mode == GradMode::skip) return;
  const MaxPoolRow& row = select(context, params);
  const ProfileRange range("max_pool_backward", row.name);
  check_operand("max_pool backward", "dy", dy, params.y_shape(), params.dtype);
  check_operand("max_pool backward", "winner", winner, params.y_shape(), DType::u8);
  check_operand("max_pool backward", "dx", dx, params.x_shape(), params.dtype);
  row.backward(context, params, dy, winner, dx, mode);
}

}  // namespace zeroth
