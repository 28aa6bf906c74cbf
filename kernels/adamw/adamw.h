#pragma once

#include <span>

#include "kernels/core/flat_parameters.h"

namespace zeroth {

/// Adam (Kingma and Ba, 2015) and AdamW (Loshchilov and Hutter, 2019) over one flat buffer, as in PyTorch. At
/// step t = 1, 2, ...:
///   decoupled:  w -= lr * decay * w, g = factor * gradient          (AdamW)
///   otherwise:  g = factor * gradient + decay * w                   (Adam)
///   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
///   w -= lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
/// m, v: (elements) as the weights; step: (1) i32, t itself, at least 1, in device memory; the other operands
/// are described in kernels/core/flat_parameters.h. Gaps of zeros stay zero.
struct AdamwParams : FlatParams {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  bool decoupled = true;
  std::string to_string() const;
};

struct AdamwRow : Row {
  bool (*supports)(const AdamwParams&);
  void (*step)(Context&, const AdamwParams&, const FlatParameters&, TensorView m, TensorView v,
               ConstTensorView step);
};

/// Every implementation, in order of preference.
std::span<const AdamwRow> adamw_rows();

namespace reference {
extern const AdamwRow adamw_row;
}
namespace cpu {
extern const AdamwRow adamw_row;
}
namespace simt_native {
extern const AdamwRow adamw_row;
}
namespace cuda_native {
extern const AdamwRow adamw_row;
}

void adamw_step(Context& context, const AdamwParams& params, const FlatParameters& parameters, TensorView m,
                TensorView v, ConstTensorView step);

}  // namespace zeroth
