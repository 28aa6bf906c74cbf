#pragma once

// Second stages of batch normalisation: what the blocks of a first stage left of each channel is joined,
// exchanged between the ranks of a group where there is one, and turned into what the passes apply.

#include "kernels/batch_norm/batch_norm.cuh"
#include "kernels/batch_norm/batch_norm.h"

namespace zeroth::ZEROTH_NATIVE {

/// Sets of rows of which two numbers are known for each channel, moments or sums: those of the pieces of a
/// first stage.
struct PieceSets {
  const float* values;  // (pieces, 2, C)
  ChannelLayout layout;

  __device__ std::int64_t channels() const { return layout.channels; }
  __device__ std::int64_t count() const { return layout.pieces; }
  __device__ double rows(std::int64_t set) const { return static_cast<double>(piece_rows(layout, set)); }
  __device__ double all_rows() const { return static_cast<double>(layout.rows); }
};

/// Those of ranks with as many rows each.
struct RankSets {
  const double* values;  // (ranks, 2, C)
  std::int64_t channel_count, ranks, rows_each;

  __device__ std::int64_t channels() const { return channel_count; }
  __device__ std::int64_t count() const { return ranks; }
  __device__ double rows(std::int64_t) const { return static_cast<double>(rows_each); }
  __device__ double all_rows() const { return static_cast<double>(rows_each * ranks); }
};

/// The two numbers of channel c of a set.
template <class Sets>
__device__ inline double first_of(const Sets& sets, std::int64_t set, std::int64_t c) {
  return static_cast<double>(sets.values[2 * set * sets.channels() + c]);
}
template <class Sets>
__device__ inline double second_of(const Sets& sets, std::int64_t set, std::int64_t c) {
  return static_cast<double>(sets.values[(2 * set + 1) * sets.channels() + c]);
}

/// Where a thread of a second stage works: with kFinishLanes - 1 others on a channel, each on every
/// kFinishLanes-th set; lane 0 writes.
struct FinishThread {
  int lane;
  std::int64_t channel;
  bool inside;

  __device__ bool writes() const { return lane == 0 && inside; }
};

__device__ inline FinishThread finish_thread(std::int64_t channels) {
  const std::int64_t c = std::int64_t{blockIdx.x} * kFinishChannels + threadIdx.x % kFinishChannels;
  return {static_cast<int>(threadIdx.x) / kFinishChannels, c, c < channels};
}

/// Two numbers of a channel: mean and sum of squared deviations, or two sums.
struct ChannelPair {
  double first, second;
};

/// The moments of all sets, in f64: the mean first, then the deviations from it.
template <class Sets>
__device__ inline ChannelPair join_sets(const Sets& sets, const FinishThread& t, double* slots) {
  double sum = 0.0;
  for (std::int64_t s = t.lane; t.inside && s < sets.count(); s += kFinishLanes)
    sum += sets.rows(s) * first_of(sets, s, t.channel);
  const double average = sum_over_lanes(sum, slots) / sets.all_rows();
  double m2 = 0.0;
  for (std::int64_t s = t.lane; t.inside && s < sets.count(); s += kFinishLanes) {
    const double delta = first_of(sets, s, t.channel) - average;
    m2 += second_of(sets, s, t.channel) + sets.rows(s) * delta * delta;
  }
  return {average, sum_over_lanes(m2, slots)};
}

/// The sums of all sets, in f64.
template <class Sets>
__device__ inline ChannelPair add_sets(const Sets& sets, const FinishThread& t, double* slots) {
  double first = 0.0, second = 0.0;
  for (std::int64_t s = t.lane; t.inside && s < sets.count(); s += kFinishLanes) {
    first += first_of(sets, s, t.channel);
    second += second_of(sets, s, t.channel);
  }
  first = sum_over_lanes(first, slots);
  return {first, sum_over_lanes(second, slots)};
}

/// What this rank gives to the others of its group: the moments of its rows, or, with kSums, their sums, (2,
/// C).
template <bool kSums>
__global__ void __launch_bounds__(kChannelThreads) join_pieces_kernel(PieceSets sets, double* own) {
  ZEROTH_SHARED(double, slots, [kChannelThreads]);
  const FinishThread t = finish_thread(sets.channels());
  const ChannelPair pair = kSums ? add_sets(sets, t, slots) : join_sets(sets, t, slots);
  if (!t.writes()) return;
  own[t.channel] = pair.first;
  own[sets.channels() + t.channel] = pair.second;
}

/// What a second stage of the moments writes, each (C).
struct MomentResults {
  double eps, momentum;
  float *mean, *inverse_std, *running_mean, *running_var;
};

/// Second stage.
template <class Sets>
__global__ void __launch_bounds__(kChannelThreads) finish_moments_kernel(Sets sets, MomentResults results) {
  ZEROTH_SHARED(double, slots, [kChannelThreads]);
  const FinishThread t = finish_thread(sets.channels());
  const ChannelPair moments = join_sets(sets, t, slots);
  if (!t.writes()) return;
  const double rows = sets.all_rows();
  results.mean[t.channel] = static_cast<float>(moments.first);
  results.inverse_std[t.channel] = static_cast<float>(1.0 / sqrt(moments.second / rows + results.eps));
  const auto run = [&](float& running, double value) {
    running = static_cast<float>((1.0 - results.momentum) * static_cast<double>(running) +
                                 results.momentum * value);
  };
  run(results.running_mean[t.channel], moments.first);
  run(results.running_var[t.channel], moments.second / (rows - 1.0));
}

/// What a second stage of the gradient writes. The gradient behind the normalisation is alpha * g, or g where
/// alpha is null. dgamma and dbeta may be null: not wanted. alpha_terms (C), which may be null, get each
/// channel's share of dalpha = sum of g * (x_hat * gamma + beta).
struct GradientResults {
  const float* alpha;
  float *dgamma, *dbeta;
  bool accumulate;
  float* coefficients;
  double* alpha_terms;
};

/// Second stage. Coefficients come from all sets; gradients of parameters from set `own`, or from all where
/// that is -1.
template <class Sets>
__global__ void __launch_bounds__(kChannelThreads)
    finish_gradients_kernel(Sets sets, std::int64_t own, ChannelConstants constants,
                            GradientResults results) {
  ZEROTH_SHARED(double, slots, [kChannelThreads]);
  const FinishThread t = finish_thread(sets.channels());
  const ChannelPair sums = add_sets(sets, t, slots);
  if (!t.writes()) return;
  const std::int64_t c = t.channel, channels = sets.channels();
  const double sum = own < 0 ? sums.first : first_of(sets, own, c),
               sum_x_hat = own < 0 ? sums.second : second_of(sets, own, c);
  const auto gamma = static_cast<double>(constants.gamma[c]),
             deviation = static_cast<double>(constants.inverse_std[c]);
  const double factor = results.alpha == nullptr ? 1.0 : static_cast<double>(*results.alpha);
  if (results.dgamma != nullptr) {
    float &dgamma = results.dgamma[c], &dbeta = results.dbeta[c];
    const bool accumulate = results.accumulate;
    dgamma = static_cast<float>((accumulate ? static_cast<double>(dgamma) : 0.0) + factor * sum_x_hat);
    dbeta = static_cast<float>((accumulate ? static_cast<double>(dbeta) : 0.0) + factor * sum);
  }
  if (results.alpha_terms != nullptr)
    results.alpha_terms[c] = gamma * sum_x_hat + static_cast<double>(constants.beta[c]) * sum;
  const double rows = sets.all_rows(), scale = factor * gamma * deviation;
  float* coefficients = results.coefficients;
  coefficients[c] = static_cast<float>(scale);
  coefficients[channels + c] = static_cast<float>(scale * sums.first / rows);
  coefficients[2 * channels + c] = static_cast<float>(scale * deviation * sums.second / rows);
}

inline dim3 finish_grid(std::int64_t channels) {
  return dim3(static_cast<unsigned>((channels + kFinishChannels - 1) / kFinishChannels));
}

/// Bytes for what the ranks of a group exchange, (ranks, 2, C) f64.
inline std::size_t exchange_bytes(const BatchNormParams& params) {
  const int ranks = params.group == nullptr ? 0 : params.group->size();
  return static_cast<std::size_t>(ranks * 2 * params.channels) * sizeof(double);
}

/// Queues the exchange of what join_pieces_kernel<kSums> makes of `pieces`, in `exchanged`; returns the
/// ranks' sets.
template <bool kSums>
RankSets exchange(Context& context, const BatchNormParams& params, const PieceSets& pieces,
                  double* exchanged) {
  const RankGroup& group = *params.group;
  double* own = exchanged + group.rank() * 2 * params.channels;
  launch(join_pieces_kernel<kSums>, finish_grid(params.channels), dim3(kChannelThreads), 0, context.stream(),
         pieces, own);
  group.gather(context, ConstTensorView(own, {2, params.channels}, DType::f64),
               TensorView(exchanged, {group.size(), 2, params.channels}, DType::f64));
  return {exchanged, params.channels, group.size(), params.rows};
}

/// Queues the second stage of the moments.
inline void finish_moments(Context& context, const BatchNormParams& params, const PieceSets& pieces,
                           double* exchanged, const MomentResults& results) {
  const dim3 grid = finish_grid(params.channels);
  if (params.group == nullptr)
    launch(finish_moments_kernel<PieceSets>, grid, dim3(kChannelThreads), 0, context.stream(), pieces,
           results);
  else
    launch(finish_moments_kernel<RankSets>, grid, dim3(kChannelThreads), 0, context.stream(),
           exchange<false>(context, params, pieces, exchanged), results);
}

/// Queues the second stage of the gradient.
inline void finish_gradients(Context& context, const BatchNormParams& params, const PieceSets& pieces,
                             double* exchanged, const ChannelConstants& constants,
                             const GradientResults& results) {
  const dim3 grid = finish_grid(params.channels);
  if (params.group == nullptr)
    launch(finish_gradients_kernel<PieceSets>, grid, dim3(kChannelThreads), 0, context.stream(), pieces,
           std::int64_t{-1}, constants, results);
  else
    launch(finish_gradients_kernel<RankSets>, grid, dim3(kChannelThreads), 0, context.stream(),
           exchange<true>(context, params, pieces, exchanged), std::int64_t{params.group->rank()}, constants,
           results);
}

}  // namespace zeroth::ZEROTH_NATIVE
