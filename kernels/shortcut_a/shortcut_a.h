#pragma once

#include <span>

#include "kernels/core/operation_table.h"

namespace zeroth {

/// Shortcut A of the ResNet paper: every second pixel, and zeros for the channels that are new, half of them
/// on either side:
///   y[n, p, q, k] = x[n, 2 p, 2 q, k - before]  for before <= k < before + C,  else 0;   before = (K - C) /
///   2
/// x: (N, H, W, C), y: (N, ceil(H / 2), ceil(W / 2), K), K >= C. Storage dtype; no aliasing.
struct ShortcutAParams {
  std::int64_t n, h, w, c, k;
  DType dtype = DType::f32;

  std::int64_t p() const { return (h + 1) / 2; }
  std::int64_t q() const { return (w + 1) / 2; }
  Shape x_shape() const { return {n, h, w, c}; }
  Shape y_shape() const { return {n, p(), q(), k}; }
  std::string to_string() const;
};

struct ShortcutARow : Row {
  bool (*supports)(const ShortcutAParams&);
  void (*forward)(Context&, const ShortcutAParams&, ConstTensorView x, TensorView y);
  void (*backward)(Context&, const ShortcutAParams&, ConstTensorView dy, TensorView dx, GradMode);
};

/// Every implementation, in order of preference.
std::span<const ShortcutARow> shortcut_a_rows();

namespace reference {
extern const ShortcutARow shortcut_a_row;
}
namespace cpu {
extern const ShortcutARow shortcut_a_row;
}
namespace simt_native {
extern const ShortcutARow shortcut_a_row;
}
namespace cuda_native {
extern const ShortcutARow shortcut_a_row;
}

void shortcut_a_forward(Context& context, const ShortcutAParams& params, ConstTensorView x, TensorView y);

/// dx (=|+=) dy scattered back; pixels that forward did not read get 0.
void shortcut_a_backward(Context& context, const ShortcutAParams& params, ConstTensorView dy, TensorView dx,
                         GradMode mode);

}  // namespace zeroth
