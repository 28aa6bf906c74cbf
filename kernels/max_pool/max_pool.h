#pragma once

#include <span>

#include "kernels/core/operation_table.h"

namespace zeroth {

/// Maximum pooling over square windows; pixels outside the picture never win.
/// x: (N, H, W, C), y: (N, P, Q, C) with P = (H + 2 padding - window) / stride + 1, storage dtype; winner:
/// (N, P, Q, C) u8, the position r * window + s of the maximum inside its window, the first in scan order of
/// equal ones (NaN wins, as in PyTorch). window <= 15, 2 padding <= window, so every window holds a pixel.
struct MaxPoolParams {
  std::int64_t n, h, w, c;
  std::int64_t window = 3, stride = 2, padding = 1;
  DType dtype = DType::f32;

  std::int64_t p() const { return (h + 2 * padding - window) / stride + 1; }
  std::int64_t q() const { return (w + 2 * padding - window) / stride + 1; }
  Shape x_shape() const { return {n, h, w, c}; }
  Shape y_shape() const { return {n, p(), q(), c}; }
  std::string to_string() const;
};

struct MaxPoolRow : Row {
  bool (*supports)(const MaxPoolParams&);
  void (*forward)(Context&, const MaxPoolParams&, ConstTensorView x, TensorView y, TensorView winner);
  void (*backward)(Context&, const MaxPoolParams&, ConstTensorView dy, ConstTensorView winner, TensorView dx,
                   GradMode);
};

/// Every implementation, in order of preference.
std::span<const MaxPoolRow> max_pool_rows();

namespace reference {
extern const MaxPoolRow max_pool_row;
}
namespace cpu {
extern const MaxPoolRow max_pool_row;
}
namespace simt_native {
extern const MaxPoolRow max_pool_row;
}
namespace cuda_native {
extern const MaxPoolRow max_pool_row;
}

void max_pool_forward(Context& context, const MaxPoolParams& params, ConstTensorView x, TensorView y,
                      TensorView winner);

/// dx (=|+=) dy gathered from the windows each pixel won, in a fixed order.
void max_pool_backward(Context& context, const MaxPoolParams& params, ConstTensorView dy,
                       ConstTensorView winner, TensorView dx, GradMode mode);

}  // namespace zeroth
