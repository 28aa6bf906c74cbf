#pragma once

#include <span>

#include "kernels/core/operation_table.h"

namespace zeroth {

/// Multiplication by a constant, element by element: y = factor * x, rounded to the storage dtype once.
/// x, y: any shape, one storage dtype (f64 in the reference). y may alias x. Its gradient is itself: dx
/// (=|+=) factor * dy, and dx may alias dy when it is overwritten.
struct ScaleParams {
  std::int64_t elements;
  double factor;
  DType dtype;
  std::string to_string() const;
};

struct ScaleRow : Row {
  bool (*supports)(const ScaleParams&);
  void (*forward)(Context&, const ScaleParams&, ConstTensorView x, TensorView y, GradMode);
};

/// Every implementation, in order of preference.
std::span<const ScaleRow> scale_rows();

namespace reference {
extern const ScaleRow scale_row;
}
namespace cpu {
extern const ScaleRow scale_row;
}
namespace simt_native {
extern const ScaleRow scale_row;
}
namespace cuda_native {
extern const ScaleRow scale_row;
}

void scale_forward(Context& context, double factor, ConstTensorView x, TensorView y);
void scale_backward(Context& context, double factor, ConstTensorView dy, TensorView dx, GradMode mode);

}  // namespace zeroth
