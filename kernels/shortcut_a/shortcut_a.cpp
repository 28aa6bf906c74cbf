#include "kernels/shortcut_a/shortcut_a.h"

#include <fmt/format.h>

#include "kernels/core/profile_range.h"

namespace zeroth {

std::string ShortcutAParams::to_string() const {
  return fmt::format("{}x{}x{}x{} -> {} {}", n, h, w, c, k, name_of(dtype));
}

std::span<const ShortcutARow> shortcut_a_rows() {
  static const ShortcutARow rows[] = {cuda_native::shortcut_a_row, simt_native::shortcut_a_row,
                                      cpu::shortcut_a_row, reference::shortcut_a_row};
  return rows;
}

namespace {

const ShortcutARow& select(const Context& context, const ShortcutAParams& params) {
  if (params.n < 0 || params.h < 1 || params.w < 1 || params.c < 1 || params.k < params.c)
    fail(ErrorKind::usage,
         "shortcut_a: sizes must be positive and channels not fewer than before: " + params.to_string());
  return select_row(
      context, "shortcut_a", shortcut_a_rows(), [&](const ShortcutARow& row) { return row.supports(params); },
      [&] { return params.to_string(); });
}

}  // namespace

void shortcut_a_forward(Context& context, const ShortcutAParams& params, ConstTensorView x, TensorView y) {
  const ShortcutARow& row = select(context, params);
  const ProfileRange range("shortcut_a_forward", row.name);
  check_operand("shortcut_a", "x", x, params.x_shape(), params.dtype);
  check_operand("shortcut_a", "y", y, params.y_shape(), params.dtype);
  row.forward(context, params, x, y);
}

void shortcut_a_backward(Context& context, const ShortcutAParams& params, ConstTensorView dy, TensorView dx,
                         GradMode mode) {
  if (mode == GradMode::skip) return;
  const ShortcutARow& row = select(context, params);
  const ProfileRange range("shortcut_a_backward", row.name);
  check_operand("shortcut_a backward", "dy", dy, params.y_shape(), params.dtype);
  check_operand("shortcut_a backward", "dx", dx, params.x_shape(), params.dtype);
  row.backward(context, params, dy, dx, mode);
}

}  // namespace zeroth
