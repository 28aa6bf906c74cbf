#pragma once

#include <span>

#include "kernels/core/operation_table.h"

namespace zeroth {

/// Gaussian error linear unit (Hendrycks and Gimpel, 2016), exact: y = x * Phi(x), element by element, with
/// Phi(x) = erfc(-x / sqrt 2) / 2 the normal distribution function. NaN passes through; minus infinity gives
/// NaN, as in PyTorch.
/// x, y: any shape, one storage dtype (f64 in the reference). y may alias x where x is not needed any more.
struct GeluParams {
  std::int64_t elements;
  DType dtype;
  std::string to_string() const;
};

struct GeluRow : Row {
  bool (*supports)(const GeluParams&);
  void (*forward)(Context&, const GeluParams&, ConstTensorView x, TensorView y);
  void (*backward)(Context&, const GeluParams&, ConstTensorView dy, ConstTensorView x, TensorView dx,
                   GradMode);
};

/// Every implementation, in order of preference.
std::span<const GeluRow> gelu_rows();

namespace reference {
extern const GeluRow gelu_row;
}
namespace cpu {
extern const GeluRow gelu_row;
}
namespace simt_native {
extern const GeluRow gelu_row;
}
namespace cuda_native {
extern const GeluRow gelu_row;
}

void gelu_forward(Context& context, ConstTensorView x, TensorView y);

/// dx (=|+=) dy * (Phi(x) + x * phi(x)), phi(x) = exp(-x^2 / 2) / sqrt(2 pi). dx may alias dy or x when it is
/// overwritten.
void gelu_backward(Context& context, ConstTensorView dy, ConstTensorView x, TensorView dx, GradMode mode);

}  // namespace zeroth
