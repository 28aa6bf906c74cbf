#pragma once

#include <span>

#include "kernels/core/flat_parameters.h"

namespace zeroth {

/// Stochastic gradient descent with momentum over one flat buffer, as in PyTorch (dampening 0). With g =
/// factor * gradient + decay[group] * w:
///   buffer = momentum * buffer + g;     w -= lr[group] * (nesterov ? g + momentum * buffer : buffer)
/// A buffer of zeros before the first step makes that step plain. With momentum 0 the buffer is absent
/// (null). momentum_buffer: (elements) as the weights; the other operands are described in
/// kernels/core/flat_parameters.h. Nesterov needs a momentum. Segments of the group `left_out`, if there is
/// one, are another optimizer's: nothing of theirs is written.
struct SgdParams : FlatParams {
  double momentum = 0.9;
  bool nesterov = false;
  int left_out = -1;
  std::string to_string() const;
};

struct SgdRow : Row {
  bool (*supports)(const SgdParams&);
  void (*step)(Context&, const SgdParams&, const FlatParameters&, TensorView momentum_buffer);
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

void sgd_step(Context& context, const SgdParams& params, const FlatParameters& parameters,
              TensorView momentum_buffer);

}  // namespace zeroth
