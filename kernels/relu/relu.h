#pragma once

#include <span>

#include "kernels/core/operation_table.h"

namespace zeroth {

/// Rectifier: y = max(x, 0), element by element. NaN passes through.
/// x, y: any shape, one floating dtype. y may alias x.
struct ReluParams {
  std::int64_t elements;
  DType dtype;
};

struct ReluRow : Row {
  bool (*supports)(const ReluParams&);
  void (*forward)(Context&, const ReluParams&, ConstTensorView x, TensorView y);
  void (*backward)(Context&, const ReluParams&, ConstTensorView dy, ConstTensorView y, TensorView dx,
                   GradMode);
};

/// Every implementation, in order of preference.
std::span<const ReluRow> relu_rows();

namespace reference {
extern const ReluRow relu_row;
}
namespace cpu {
extern const ReluRow relu_row;
}
namespace simt_native {
extern const ReluRow relu_row;
}
namespace cuda_native {
extern const ReluRow relu_row;
}

void relu_forward(Context& context, ConstTensorView x, TensorView y);

/// dx (=|+=) dy where y > 0, else 0. dx may alias dy when it is overwritten.
void relu_backward(Context& context, ConstTensorView dy, ConstTensorView y, TensorView dx, GradMode mode);

}  // namespace zeroth
