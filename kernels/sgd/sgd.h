#pragma once

#include <span>

#include "kernels/core/operation_table.h"
#include "kernels/core/parameter_segment.h"

namespace zeroth {

/// Stochastic gradient descent with momentum over one flat buffer, as in PyTorch (dampening 0). With g =
/// gradient + decay[group] * w:
///   buffer = momentum * buffer + g;     w -= lr[group] * (nesterov ? g + momentum * buffer : buffer)
/// A buffer of zeros before the first step makes that step plain. With momentum 0 the buffer is absent
/// (null). weights, gradients, momentum_buffer: (elements) f32 (f64 in the reference); group_of_segment:
/// (elements / kParameterSegment) u8; rates: (groups, 2) in the statistics dtype {learning rate, weight
/// decay}, in device memory because they change while a captured step does not. The elements are whole
/// segments; a group in group_of_segment is below `groups` (trusted: a kernel cannot throw). Nesterov needs a
/// momentum.
struct SgdParams {
  std::int64_t elements, groups;
  double momentum = 0.9;
  bool nesterov = false;
  DType dtype = DType::f32;
  std::string to_string() const;
};

struct SgdRow : Row {
  bool (*supports)(const SgdParams&);
  void (*step)(Context&, const SgdParams&, TensorView weights, ConstTensorView gradients,
               TensorView momentum_buffer, ConstTensorView group_of_segment, ConstTensorView rates);
};

/// Every implementation, in order of preference.
std::span<const SgdRow> sgd_rows();

namespace reference {
extern const SgdRow sgd_row;
}
namespace cpu {
extern const SgdRow sgd_row;
}
namespace simt_native {
extern const SgdRow sgd_row;
}
namespace cuda_native {
extern const SgdRow sgd_row;
}

void sgd_step(Context& context, const SgdParams& params, TensorView weights, ConstTensorView gradients,
              TensorView momentum_buffer, ConstTensorView group_of_segment, ConstTensorView rates);

}  // namespace zeroth
