#pragma once

#include <span>

#include "kernels/core/operation_table.h"

namespace zeroth {

/// Softmax and cross entropy with label smoothing (Szegedy et al., 2016, as in PyTorch): with K classes and
/// target q[k] = (1 - smoothing) * [k == label] + smoothing / K, where with other labels [k == label] becomes
/// share * [k == label] + (1 - share) * [k == other] (mixup: Zhang et al., 2018),
///   row_losses[n] = - sum over k of q[k] * log softmax(logits[n])[k],     loss = their mean
/// logits: (N, K) storage dtype; labels: (N) i32, each in [0, K); row_losses: (N), loss: (1) in the
/// statistics dtype; predictions: (N) i32, the first class of the largest logit; metrics: (3) f64 {sum of row
/// losses, correct, rows}, added to, or absent; correct is what has the first label. A label out of range
/// gives a NaN loss and gradient in its row (a kernel cannot throw). A NaN logit is never the largest; where
/// nothing is above minus infinity the prediction is class 0. The loss of no rows is NaN. Sums over rows run
/// in f64.
struct SoftmaxCrossEntropyParams {
  std::int64_t n, k;
  double smoothing = 0.0;
  DType dtype = DType::f32;
  std::string to_string() const;
};

/// Second labels of rows that show two pictures, or nothing.
struct OtherLabels {
  ConstTensorView labels;  ///< (N) i32, as the first ones
  ConstTensorView share;   ///< (1) statistics dtype, in [0, 1], on the device: the first labels' weight
  explicit operator bool() const { return static_cast<bool>(labels); }
};

struct SoftmaxCrossEntropyRow : Row {
  bool (*supports)(const SoftmaxCrossEntropyParams&);
  void (*forward)(Context&, const SoftmaxCrossEntropyParams&, ConstTensorView logits, ConstTensorView labels,
                  OtherLabels, TensorView loss, TensorView row_losses, TensorView predictions,
                  TensorView metrics);
  void (*backward)(Context&, const SoftmaxCrossEntropyParams&, ConstTensorView logits, ConstTensorView labels,
                   OtherLabels, ConstTensorView dloss, TensorView dlogits, GradMode);
};

/// Every implementation, in order of preference.
std::span<const SoftmaxCrossEntropyRow> softmax_cross_entropy_rows();

namespace reference {
extern const SoftmaxCrossEntropyRow softmax_cross_entropy_row;
}
namespace cpu {
extern const SoftmaxCrossEntropyRow softmax_cross_entropy_row;
}
namespace simt_native {
extern const SoftmaxCrossEntropyRow softmax_cross_entropy_row;
}
namespace cuda_native {
extern const SoftmaxCrossEntropyRow softmax_cross_entropy_row;
}

void softmax_cross_entropy_forward(Context& context, const SoftmaxCrossEntropyParams& params,
                                   ConstTensorView logits, ConstTensorView labels, TensorView loss,
                                   TensorView row_losses, TensorView predictions, TensorView metrics,
                                   OtherLabels others = {});

/// dlogits (=|+=) dloss * (softmax(logits) - q) / N; dloss: (1) in the statistics dtype, on the device (it
/// carries a loss scale).
void softmax_cross_entropy_backward(Context& context, const SoftmaxCrossEntropyParams& params,
                                    ConstTensorView logits, ConstTensorView labels, ConstTensorView dloss,
                                    TensorView dlogits, GradMode mode, OtherLabels others = {});

}  // namespace zeroth
