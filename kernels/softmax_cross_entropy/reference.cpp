#include <cmath>
#include <limits>

#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

namespace zeroth::reference {

namespace {

bool supports(const SoftmaxCrossEntropyParams& params) {
  return params.dtype == DType::f64 || params.dtype == DType::f32;
}

/// What the labels of one row want.
struct Target {
  const SoftmaxCrossEntropyParams& params;
  std::int32_t label, other;
  double share;

  template <class T>
  static Target of(const SoftmaxCrossEntropyParams& params, ConstTensorView labels, const OtherLabels& others,
                   std::int64_t row) {
    const std::int32_t label = labels.as<std::int32_t>()[row];
    if (!others) return {params, label, label, 1.0};
    return {params, label, others.labels.as<std::int32_t>()[row], static_cast<double>(*others.share.as<T>())};
  }
  bool names_a_class(std::int32_t one) const { return one >= 0 && one < params.k; }

  /// q[k]: the probability that the smoothed target gives class k. NaN where a label names no class.
  template <class T>
  T probability(std::int64_t k) const {
    if (!names_a_class(label) || !names_a_class(other)) return std::numeric_limits<T>::quiet_NaN();
    const double on_labels = (k == label ? share : 0.0) + (k == other ? 1.0 - share : 0.0);
    return static_cast<T>((1.0 - params.smoothing) * on_labels +
                          params.smoothing / static_cast<double>(params.k));
  }
};

/// log softmax(logits)[k] = (logits[k] - maximum) - log_sum, where nothing overflows and large logits do not
/// swallow small differences.
template <class T>
struct LogSoftmax {
  T maximum = -std::numeric_limits<T>::infinity();
  T log_sum;
  std::int32_t winner = 0;  // the first class of the largest logit

  LogSoftmax(const T* logits, std::int64_t k) {
    for (std::int64_t i = 0; i < k; ++i)
      if (logits[i] > maximum) {
        maximum = logits[i];
        winner = static_cast<std::int32_t>(i);
      }
    T sum{};
    for (std::int64_t i = 0; i < k; ++i) sum += std::exp(logits[i] - maximum);
    log_sum = std::log(sum);
  }
  T of(T logit) const { return (logit - maximum) - log_sum; }
};

void forward(Context&, const SoftmaxCrossEntropyParams& params, ConstTensorView logits_view,
             ConstTensorView labels_view, OtherLabels others, TensorView loss, TensorView row_losses,
             TensorView predictions, TensorView metrics) {
  dispatch_reference(params.dtype, [&]<class T>(TypeTag<T>) {
    const std::int32_t* labels = labels_view.as<std::int32_t>();
    double sum = 0.0, correct = 0.0;
    for (std::int64_t n = 0; n < params.n; ++n) {
      const T* logits = logits_view.as<T>() + n * params.k;
      const LogSoftmax<T> log_softmax(logits, params.k);
      const Target target = Target::of<T>(params, labels_view, others, n);
      T row_loss{};
      for (std::int64_t k = 0; k < params.k; ++k) {
        const T q = target.probability<T>(k);
        if (q != T{0}) row_loss -= q * log_softmax.of(logits[k]);
      }
      row_losses.as<T>()[n] = row_loss;
      predictions.as<std::int32_t>()[n] = log_softmax.winner;
      sum += static_cast<double>(row_loss);
      correct += log_softmax.winner == labels[n] ? 1.0 : 0.0;
    }
    *loss.as<T>() = static_cast<T>(sum / static_cast<double>(params.n));
    if (metrics) {
      double* total = metrics.as<double>();
      total[0] += sum;
      total[1] += correct;
      total[2] += static_cast<double>(params.n);
    }
  });
}

void backward(Context&, const SoftmaxCrossEntropyParams& params, ConstTensorView logits_view,
              ConstTensorView labels_view, OtherLabels others, ConstTensorView dloss, TensorView dlogits_view,
              GradMode mode) {
  dispatch_reference(params.dtype, [&]<class T>(TypeTag<T>) {
    const T scale = *dloss.as<T>() / static_cast<T>(params.n);
    for (std::int64_t n = 0; n < params.n; ++n) {
      const T* logits = logits_view.as<T>() + n * params.k;
      T* dlogits = dlogits_view.as<T>() + n * params.k;
      const Target target = Target::of<T>(params, labels_view, others, n);
      const LogSoftmax<T> log_softmax(logits, params.k);
      for (std::int64_t k = 0; k < params.k; ++k) {
        const T gradient = scale * (std::exp(log_softmax.of(logits[k])) - target.probability<T>(k));
        dlogits[k] = mode == GradMode::accumulate ? dlogits[k] + gradient : gradient;
      }
    }
  });
}

}  // namespace

const SoftmaxCrossEntropyRow softmax_cross_entropy_row{
    {"reference", DeviceKind::cpu, true}, supports, forward, backward};

}  // namespace zeroth::reference
