#pragma once

#include <span>

#include "kernels/core/operation_table.h"

namespace zeroth {

/// Two-dimensional convolution (cross-correlation, as everywhere in deep learning), without bias or groups:
///   y[n, p, q, k] = sum over r, s, c of  x[n, p * stride - padding + r, q * stride - padding + s, c] * w[k,
///   r, s, c]
/// x: (N, H, W, C), w: (K, R, S, C), y: (N, P, Q, K) with P = (H + 2 padding - R) / stride + 1. Pixels
/// outside x count as 0. One storage dtype for x, w, y and their gradients; products are summed in f32 (f64
/// for f64). Nothing may alias. Every size is allowed: odd channels, one picture, windows larger than the
/// picture with its padding excepted.
struct Conv2dParams {
  std::int64_t n, h, w, c;  // input pictures
  std::int64_t k, r, s;     // filters
  std::int64_t stride = 1, padding = 0;
  DType dtype = DType::f32;

  std::int64_t p() const { return (h + 2 * padding - r) / stride + 1; }
  std::int64_t q() const { return (w + 2 * padding - s) / stride + 1; }
  Shape x_shape() const { return {n, h, w, c}; }
  Shape w_shape() const { return {k, r, s, c}; }
  Shape y_shape() const { return {n, p(), q(), k}; }
  /// Multiply-adds of one pass (each of the three passes has as many), padding counted as work.
  std::int64_t multiply_adds() const { return n * p() * q() * k * r * s * c; }
  std::string to_string() const;  // "128x32x32x16 * 16x3x3 /1 +1 f32"
  bool operator==(const Conv2dParams&) const = default;
};

enum class Conv2dPass { forward, backward_data, backward_weight };

struct Conv2dRow : Row {
  bool (*supports)(const Conv2dParams&, Conv2dPass);
  std::size_t (*workspace)(Context&, const Conv2dParams&, Conv2dPass, GradMode);
  void (*forward)(Context&, const Conv2dParams&, ConstTensorView x, ConstTensorView w, TensorView y,
                  Workspace);
  void (*backward_data)(Context&, const Conv2dParams&, ConstTensorView dy, ConstTensorView w, TensorView dx,
                        GradMode, Workspace);
  void (*backward_weight)(Context&, const Conv2dParams&, ConstTensorView x, ConstTensorView dy, TensorView dw,
                          GradMode, Workspace);
};

/// Every implementation, in order of preference.
std::span<const Conv2dRow> conv2d_rows();

namespace reference {
extern const Conv2dRow conv2d_row;
}
namespace cpu {
extern const Conv2dRow conv2d_winograd_row, conv2d_row, conv2d_split_row, conv2d_widened_row;
}
namespace simt_native {
extern const Conv2dRow conv2d_row, conv2d_mma_row;
}
namespace cuda_native {
extern const Conv2dRow conv2d_row, conv2d_mma_row;
}
namespace cudnn {
extern const Conv2dRow conv2d_row;
}

/// Throws Error(usage) in the name of `operation` unless the sizes make sense.
void check_convolution(const char* operation, const Conv2dParams& params);

/// Bytes of scratch memory that the row chosen for this problem needs to write its result in this mode;
/// forward overwrites. A library may make its plan for the problem here, so ask for the mode that will be
/// used.
std::size_t conv2d_workspace(Context& context, const Conv2dParams& params, Conv2dPass pass,
                             GradMode mode = GradMode::overwrite);

void conv2d_forward(Context& context, const Conv2dParams& params, ConstTensorView x, ConstTensorView w,
                    TensorView y, Workspace workspace);

/// dx (=|+=) the transposed convolution of dy with w.
void conv2d_backward_data(Context& context, const Conv2dParams& params, ConstTensorView dy, ConstTensorView w,
                          TensorView dx, GradMode mode, Workspace workspace);

/// dw (=|+=) the correlation of x with dy, summed over pictures.
void conv2d_backward_weight(Context& context, const Conv2dParams& params, ConstTensorView x,
                            ConstTensorView dy, TensorView dw, GradMode mode, Workspace workspace);

}  // namespace zeroth
