// Softmax with cross entropy and label smoothing, forward and backward.
// Bytes moved: forward reads the logits once from memory (its second pass finds them in the L1 cache) and
// writes 8 bytes a row; backward reads and writes them once. A training batch is small (1024 rows of 10
// classes are 40 KB), so latency counts and not bandwidth: 1, 8 or 32 lanes share a row, as many as keep a
// lane's loop short, and a small batch is finished by one block that also takes the mean, which saves a
// second launch. The mean of a larger one is taken by a single block in a second kernel: a fixed order in
// both cases. The largest logit is taken out first (log-sum-exp); the loss comes from differences to it:
//   log(sum exp z) - (1 - smoothing) z[label] - smoothing mean(z),  z = logit - largest
// Second labels cost 4 bytes a row more; without them the first ones stand in, with the weight 0.

#include "kernels/core/block.cuh"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

namespace zeroth::ZEROTH_NATIVE {

namespace {

constexpr int kThreads = 256;
constexpr int kFinishThreads = 1024;
/// Up to this many logits one block does all.
constexpr std::int64_t kOneBlockLogits = 32768;

constexpr float kInfinity = __builtin_huge_valf();

__device__ inline float not_a_number() {
  return __int_as_float(0x7fc00000);
}

struct RowStatistics {
  float maximum, sum_exp, sum;  // sums of exp(z) and of z
  int winner;                   // first class of the largest logit
};

/// The labels of all rows; `share` is null where there are no second ones.
struct Labels {
  const std::int32_t *first, *other;
  const float* share;

  Labels(ConstTensorView labels, const OtherLabels& others)
      : first(labels.as<std::int32_t>()),
        other(others ? others.labels.as<std::int32_t>() : first),
        share(others ? others.share.as<float>() : nullptr) {}
};

__device__ inline bool names_class(int label, int k) {
  return static_cast<unsigned>(label) < static_cast<unsigned>(k);
}

/// Sum over groups of kLanes neighbouring lanes, to every lane of the group.
template <int kLanes>
__device__ inline float group_sum(float value) {
  for (int distance = kLanes / 2; distance > 0; distance /= 2)
    value += __shfl_xor_sync(0xffffffffu, value, distance);
  return value;
}

/// Lane `lane` of kLanes reads classes lane, lane + kLanes, ...; every lane gets the row's statistics. Whole
/// warps must call; `k` is 0 in groups that have no row.
template <int kLanes, class T>
__device__ inline RowStatistics row_statistics(const T* logits, int k, int lane) {
  constexpr int kNone = 0x7fffffff;
  RowStatistics row{-kInfinity, 0.0f, 0.0f, kNone};
  for (int i = lane; i < k; i += kLanes)
    if (const float logit = to_compute(logits[i]); logit > row.maximum) {
      row.maximum = logit;
      row.winner = i;
    }
  for (int distance = kLanes / 2; distance > 0; distance /= 2) {
    const float maximum = __shfl_xor_sync(0xffffffffu, row.maximum, distance);
    const int winner = __shfl_xor_sync(0xffffffffu, row.winner, distance);
    if (maximum > row.maximum || (maximum == row.maximum && winner < row.winner)) {
      row.maximum = maximum;
      row.winner = winner;
    }
  }
  if (row.winner == kNone) row.winner = 0;  // nothing is larger than minus infinity
  for (int i = lane; i < k; i += kLanes) {
    const float z = to_compute(logits[i]) - row.maximum;
    row.sum_exp += expf(z);
    row.sum += z;
  }
  row.sum_exp = group_sum<kLanes>(row.sum_exp);
  row.sum = group_sum<kLanes>(row.sum);
  return row;
}

/// Calls body(row, lane) for every row of [0, n); whole warps enter, with row >= n in groups that have none.
template <int kLanes, class Body>
__device__ inline void for_each_row(std::int64_t n, Body body) {
  constexpr int kRowsPerWarp = kWarpSize / kLanes;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const std::int64_t warps = std::int64_t{gridDim.x} * (blockDim.x / kWarpSize);
  std::int64_t warp = std::int64_t{blockIdx.x} * (blockDim.x / kWarpSize) + threadIdx.x / kWarpSize;
  for (; warp * kRowsPerWarp < n; warp += warps) body(warp * kRowsPerWarp + lane / kLanes, lane % kLanes);
}

/// Loss and metrics from the row losses. One block.
__device__ inline void finish(const std::int32_t* labels, const float* row_losses,
                              const std::int32_t* predictions, float* loss, double* metrics, std::int64_t n) {
  ZEROTH_SHARED(double, slots, [kWarpSize]);
  double sum = 0.0, correct = 0.0;
  for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) {
    sum += static_cast<double>(row_losses[i]);
    correct += predictions[i] == labels[i] ? 1.0 : 0.0;
  }
  sum = block_sum(sum, slots);
  correct = block_sum(correct, slots);
  if (threadIdx.x != 0) return;
  *loss = static_cast<float>(sum / static_cast<double>(n));
  if (metrics == nullptr) return;
  metrics[0] += sum;
  metrics[1] += correct;
  metrics[2] += static_cast<double>(n);
}

// One such block an SM is all it takes; for two, ptxas would rather spill.
template <class T, int kLanes>
__global__ void __launch_bounds__(kFinishThreads, 1)
    forward_kernel(const T* logits, Labels labels, float* row_losses, std::int32_t* predictions, float* loss,
                   double* metrics, std::int64_t n, int k, float smoothing) {
  for_each_row<kLanes>(n, [=](std::int64_t row, int lane) {
    const T* x = logits + row * k;
    const RowStatistics statistics = row_statistics<kLanes>(x, row < n ? k : 0, lane);
    if (row >= n || lane != 0) return;
    const int label = labels.first[row], other = labels.other[row];
    const float share = labels.share == nullptr ? 1.0f : *labels.share;
    float row_loss = not_a_number();
    if (names_class(label, k) && names_class(other, k)) {
      row_loss = logf(statistics.sum_exp);
      // A term whose weight is 0 stays out: its logarithm may be infinite.
      const float on_label = (1.0f - smoothing) * share, on_other = (1.0f - smoothing) * (1.0f - share);
      if (on_label > 0.0f) row_loss -= on_label * (to_compute(x[label]) - statistics.maximum);
      if (on_other > 0.0f) row_loss -= on_other * (to_compute(x[other]) - statistics.maximum);
      if (smoothing > 0.0f) row_loss -= smoothing * (statistics.sum / static_cast<float>(k));
    }
    row_losses[row] = row_loss;
    predictions[row] = statistics.winner;
  });
  if (gridDim.x > 1) return;  // finish_kernel follows
  __syncthreads();
  finish(labels.first, row_losses, predictions, loss, metrics, n);
}

__global__ void __launch_bounds__(kFinishThreads)
    finish_kernel(const std::int32_t* labels, const float* row_losses, const std::int32_t* predictions,
                  float* loss, double* metrics, std::int64_t n) {
  finish(labels, row_losses, predictions, loss, metrics, n);
}

// Left alone, ptxas keeps to 32 registers, and spills.
template <class T, int kLanes, bool kAccumulate>
__global__ void __launch_bounds__(kThreads, 4)
    backward_kernel(const T* logits, Labels labels, const float* dloss, T* dlogits, std::int64_t n, int k,
                    float on_labels, float on_each) {
  const float scale = *dloss / static_cast<float>(n);
  const float share = labels.share == nullptr ? 1.0f : *labels.share;
  const float on_label = on_labels * share, on_other = on_labels * (1.0f - share);
  for_each_row<kLanes>(n, [=](std::int64_t row, int lane) {
    const T* x = logits + row * k;
    const RowStatistics statistics = row_statistics<kLanes>(x, row < n ? k : 0, lane);
    if (row >= n) return;
    T* dx = dlogits + row * k;
    const int label = labels.first[row], other = labels.other[row];
    const float row_scale = names_class(label, k) && names_class(other, k) ? scale : not_a_number();
    for (int i = lane; i < k; i += kLanes) {
      const float p = expf(to_compute(x[i]) - statistics.maximum) / statistics.sum_exp;
      const float q = on_each + (i == label ? on_label : 0.0f) + (i == other ? on_other : 0.0f);
      const float gradient = row_scale * (p - q);
      dx[i] = from_compute<T>(kAccumulate ? to_compute(dx[i]) + gradient : gradient);
    }
  });
}

/// Calls fn(std::integral_constant<int, lanes>{}) with the number of lanes that share a row of k classes.
template <class Fn>
void dispatch_lanes(std::int64_t k, Fn&& fn) {
  if (k <= 16)
    fn(std::integral_constant<int, 1>{});
  else if (k <= 256)
    fn(std::integral_constant<int, 8>{});
  else
    fn(std::integral_constant<int, 32>{});
}

bool supports(const SoftmaxCrossEntropyParams& params) {
  return params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16;
}

void forward(Context& context, const SoftmaxCrossEntropyParams& params, ConstTensorView logits,
             ConstTensorView labels, OtherLabels others, TensorView loss, TensorView row_losses,
             TensorView predictions, TensorView metrics) {
  const Labels all(labels, others);
  auto* losses = row_losses.as<float>();
  auto* predicted = predictions.as<std::int32_t>();
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    dispatch_lanes(params.k, [&]<int kLanes>(std::integral_constant<int, kLanes>) {
      const bool one_block = params.n * params.k <= kOneBlockLogits;
      const unsigned blocks = one_block ? 1 : blocks_for(params.n * kLanes, kThreads);
      launch(forward_kernel<T, kLanes>, dim3(blocks), dim3(one_block ? kFinishThreads : kThreads), 0,
             context.stream(), logits.as<T>(), all, losses, predicted, loss.as<float>(), metrics.as<double>(),
             params.n, params.k, params.smoothing);
      if (blocks > 1)
        launch(finish_kernel, dim3(1), dim3(kFinishThreads), 0, context.stream(), all.first, losses,
               predicted, loss.as<float>(), metrics.as<double>(), params.n);
    });
  });
}

void backward(Context& context, const SoftmaxCrossEntropyParams& params, ConstTensorView logits,
              ConstTensorView labels, OtherLabels others, ConstTensorView dloss, TensorView dlogits,
              GradMode mode) {
  if (params.n == 0) return;
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    dispatch_lanes(params.k, [&]<int kLanes>(std::integral_constant<int, kLanes>) {
      const auto kernel =
          mode == GradMode::accumulate ? backward_kernel<T, kLanes, true> : backward_kernel<T, kLanes, false>;
      launch(kernel, dim3(blocks_for(params.n * kLanes, kThreads)), dim3(kThreads), 0, context.stream(),
             logits.as<T>(), Labels(labels, others), dloss.as<float>(), dlogits.as<T>(), params.n, params.k,
             1.0 - params.smoothing, params.smoothing / static_cast<double>(params.k));
    });
  });
}

}  // namespace

const SoftmaxCrossEntropyRow softmax_cross_entropy_row{
    {"native", kNativeDevice, true}, supports, forward, backward};

}  // namespace zeroth::ZEROTH_NATIVE
