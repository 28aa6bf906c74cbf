#pragma once

#include <span>

#include "kernels/core/operation_table.h"

namespace zeroth {

/// Global average pooling: y[n, c] = mean over h, w of x[n, h, w, c].
/// x: (N, H, W, C), y: (N, C), storage dtype, summed in f32 (f64 for f64). No aliasing.
struct AvgPoolParams {
  std::int64_t n, h, w, c;
  DType dtype = DType::f32;
  std::string to_string() const;
};

struct AvgPoolRow : Row {
  bool (*supports)(const AvgPoolParams&);
  void (*forward)(Context&, const AvgPoolParams&, ConstTensorView x, TensorView y);
  void (*backward)(Context&, const AvgPoolParams&, ConstTensorView dy, TensorView dx, GradMode);
};

/// Every implementation, in order of preference.
std::span<const AvgPoolRow> avg_pool_rows();

namespace reference {
extern const AvgPoolRow avg_pool_row;
}
namespace cpu {
extern const AvgPoolRow avg_pool_row;
}
namespace simt_native {
extern const AvgPoolRow avg_pool_row;
}
namespace cuda_native {
extern const AvgPoolRow avg_pool_row;
}

void avg_pool_forward(Context& context, const AvgPoolParams& params, ConstTensorView x, TensorView y);

/// dx[n, h, w, c] (=|+=) dy[n, c] / (H * W)
void avg_pool_backward(Context& context, const AvgPoolParams& params, ConstTensorView dy, TensorView dx,
                       GradMode mode);

}  // namespace zeroth
