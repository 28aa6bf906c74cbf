#pragma once

#include <span>

#include "kernels/core/operation_table.h"

namespace zeroth {

/// Fully connected layer: y = x w^T + bias.
/// x: (N, C), w: (K, C), y: (N, K) in the storage dtype; bias, dbias: (K) in the statistics dtype. Sums in
/// f32 (f64 for f64).
struct LinearParams {
  std::int64_t n, c, k;
  DType dtype = DType::f32;
  std::string to_string() const;
};

struct LinearRow : Row {
  bool (*supports)(const LinearParams&);
  std::size_t (*workspace)(Context&, const LinearParams&);  // enough for any of the three
  void (*forward)(Context&, const LinearParams&, ConstTensorView x, ConstTensorView w, ConstTensorView bias,
                  TensorView y, Workspace);
  void (*backward_data)(Context&, const LinearParams&, ConstTensorView dy, ConstTensorView w, TensorView dx,
                        GradMode, Workspace);
  void (*backward_weight)(Context&, const LinearParams&, ConstTensorView x, ConstTensorView dy, TensorView dw,
                          TensorView dbias, GradMode, Workspace);
};

/// Every implementation, in order of preference.
std::span<const LinearRow> linear_rows();

namespace reference {
extern const LinearRow linear_row;
}
namespace cpu {
extern const LinearRow linear_row, linear_widened_row;
}
namespace simt_native {
extern const LinearRow linear_row;
}
namespace cuda_native {
extern const LinearRow linear_row;
}
namespace cublaslt {
extern const LinearRow linear_row;
}

std::size_t linear_workspace(Context& context, const LinearParams& params);

void linear_forward(Context& context, const LinearParams& params, ConstTensorView x, ConstTensorView w,
                    ConstTensorView bias, TensorView y, Workspace workspace);

/// dx (=|+=) dy w
void linear_backward_data(Context& context, const LinearParams& params, ConstTensorView dy, ConstTensorView w,
                          TensorView dx, GradMode mode, Workspace workspace);

/// dw (=|+=) dy^T x,  dbias (=|+=) the column sums of dy
void linear_backward_weight(Context& context, const LinearParams& params, ConstTensorView x,
                            ConstTensorView dy, TensorView dw, TensorView dbias, GradMode mode,
                            Workspace workspace);

}  // namespace zeroth
