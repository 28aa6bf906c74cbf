#pragma once

#include <span>

#include "kernels/core/operation_table.h"
#include "kernels/core/parameter_segment.h"

namespace zeroth {

/// Adam (Kingma and Ba, 2015) and AdamW (Loshchilov and Hutter, 2019) over one flat buffer, as in PyTorch. At
/// step t = 1, 2, ...:
///   decoupled:  w -= lr * decay * w, g = gradient          (AdamW)
///   otherwise:  g = gradient + decay * w                   (Adam)
///   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
///   w -= lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
/// weights, gradients, m, v: (elements) f32 (f64 in the reference); group_of_segment: (elements /
/// kParameterSegment) u8; rates: (groups, 2) in the statistics dtype {learning rate, weight decay}; step: (1)
/// i32, t itself, in device memory. Gaps of zeros stay zero. Elements and groups
/// are as in sgd.h; t is at least 1.
struct AdamwParams {
  std::int64_t elements, groups;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  bool decoupled = true;
  DType dtype = DType::f32;
  std::string to_string() const;
};

struct AdamwRow : Row {
  bool (*supports)(const AdamwParams&);
  void (*step)(Context&, const AdamwParams&, TensorView weights, ConstTensorView gradients, TensorView m,
               TensorView v, ConstTensorView group_of_segment, ConstTensorView rates, ConstTensorView step);
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

void adamw_step(Context& context, const AdamwParams& params, TensorView weights, ConstTensorView gradients,
                TensorView m, TensorView v, ConstTensorView group_of_segment, ConstTensorView rates,
                ConstTensorView step);

}  // namespace zeroth
