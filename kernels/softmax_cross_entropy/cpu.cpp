#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/core/parallel.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

namespace zeroth::cpu {

namespace {

/// An exponential is worth this many of parallel_for's elements.
constexpr std::int64_t kExpCost = 8;

/// What a row's loss and gradient are made of.
struct RowStatistics {
  float maximum;
  float sum_exp;        // of exp(logit - maximum)
  float sum;            // of logit - maximum
  std::int32_t winner;  // the first class of the largest logit
};

template <class T>
RowStatistics row_statistics(const T* logits, std::int64_t k) {
  RowStatistics row{-std::numeric_limits<float>::infinity(), 0.0f, 0.0f, 0};
  for (std::int64_t i = 0; i < k; ++i)
    if (const float logit = to_compute(logits[i]); logit > row.maximum) {
      row.maximum = logit;
      row.winner = static_cast<std::int32_t>(i);
    }
  double sum_exp = 0.0, sum = 0.0;
  for (std::int64_t i = 0; i < k; ++i) {
    const float shifted = to_compute(logits[i]) - row.maximum;
    sum_exp += static_cast<double>(std::exp(shifted));
    sum += static_cast<double>(shifted);
  }
  row.sum_exp = static_cast<float>(sum_exp);
  row.sum = static_cast<float>(sum);
  return row;
}

/// The labels of a row and the weight of the first one.
struct RowLabels {
  std::int32_t label, other;
  float share;

  bool name_classes(std::int64_t k) const { return label >= 0 && label < k && other >= 0 && other < k; }
  float of_class(std::int64_t k) const {
    return (k == label ? share : 0.0f) + (k == other ? 1.0f - share : 0.0f);
  }
};

/// Without other labels, the first ones have all the weight.
class Labels {
 public:
  Labels(ConstTensorView labels, const OtherLabels& others)
      : labels_(labels.as<std::int32_t>()),
        others_(others ? others.labels.as<std::int32_t>() : labels_),
        share_(others ? *others.share.as<float>() : 1.0f) {}
  RowLabels of_row(std::int64_t n) const { return {labels_[n], others_[n], share_}; }

 private:
  const std::int32_t *labels_, *others_;
  float share_;
};

bool supports(const SoftmaxCrossEntropyParams& params) {
  return params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16;
}

void forward(Context&, const SoftmaxCrossEntropyParams& params, ConstTensorView logits_view,
             ConstTensorView labels_view, OtherLabels others, TensorView loss, TensorView row_losses_view,
             TensorView predictions_view, TensorView metrics) {
  const std::int32_t* labels = labels_view.as<std::int32_t>();
  const Labels all_labels(labels_view, others);
  float* row_losses = row_losses_view.as<float>();
  std::int32_t* predictions = predictions_view.as<std::int32_t>();
  const auto smoothing = static_cast<float>(params.smoothing);
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    const T* logits = logits_view.as<T>();
    parallel_for(params.n, params.k * kExpCost, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n) {
        const T* x = logits + n * params.k;
        const RowStatistics row = row_statistics(x, params.k);
        predictions[n] = row.winner;
        const RowLabels wanted = all_labels.of_row(n);
        if (!wanted.name_classes(params.k)) {
          row_losses[n] = std::numeric_limits<float>::quiet_NaN();
          continue;
        }
        float row_loss = std::log(row.sum_exp);
        // A term whose weight is 0 stays out: its logarithm may be infinite.
        const float on_label = (1.0f - smoothing) * wanted.share,
                    on_other = (1.0f - smoothing) * (1.0f - wanted.share);
        if (on_label > 0.0f) row_loss -= on_label * (to_compute(x[wanted.label]) - row.maximum);
        if (on_other > 0.0f) row_loss -= on_other * (to_compute(x[wanted.other]) - row.maximum);
        if (smoothing > 0.0f) row_loss -= smoothing * (row.sum / static_cast<float>(params.k));
        row_losses[n] = row_loss;
      }
    });
  });
  double sum = 0.0, correct = 0.0;
  for (std::int64_t n = 0; n < params.n; ++n) {
    sum += static_cast<double>(row_losses[n]);
    correct += predictions[n] == labels[n] ? 1.0 : 0.0;
  }
  *loss.as<float>() = static_cast<float>(sum / static_cast<double>(params.n));
  if (metrics) {
    double* total = metrics.as<double>();
    total[0] += sum;
    total[1] += correct;
    total[2] += static_cast<double>(params.n);
  }
}

void backward(Context&, const SoftmaxCrossEntropyParams& params, ConstTensorView logits_view,
              ConstTensorView labels_view, OtherLabels others, ConstTensorView dloss, TensorView dlogits_view,
              GradMode mode) {
  const Labels all_labels(labels_view, others);
  const float scale = *dloss.as<float>() / static_cast<float>(params.n);
  const auto on_labels = static_cast<float>(1.0 - params.smoothing);
  const auto on_each = static_cast<float>(params.smoothing / static_cast<double>(params.k));
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    const T* logits = logits_view.as<T>();
    T* dlogits = dlogits_view.as<T>();
    parallel_for(params.n, params.k * kExpCost, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n) {
        const T* x = logits + n * params.k;
        T* dx = dlogits + n * params.k;
        const RowStatistics row = row_statistics(x, params.k);
        const RowLabels wanted = all_labels.of_row(n);
        const float row_scale =
            wanted.name_classes(params.k) ? scale : std::numeric_limits<float>::quiet_NaN();
        for (std::int64_t k = 0; k < params.k; ++k) {
          const float q = on_each + on_labels * wanted.of_class(k);
          const float p = std::exp(to_compute(x[k]) - row.maximum) / row.sum_exp;
          const float gradient = row_scale * (p - q);
          dx[k] = from_compute<T>(mode == GradMode::accumulate ? to_compute(dx[k]) + gradient : gradient);
        }
      }
    });
  });
}

}  // namespace

const SoftmaxCrossEntropyRow softmax_cross_entropy_row{
    {"cpu", DeviceKind::cpu, true}, supports, forward, backward};

}  // namespace zeroth::cpu
