#pragma once

// Device code of batch normalisation that operations fused with it share: how threads lie over a (rows, C)
// tensor, per-channel moments and gradient sums in two deterministic stages, and the passes that apply them.
// What a fused operation changes is a functor:
//   Finish     what becomes of a normalised value: Loaded<N>, load<N>(i), factor(), and
//              operator()(i, normalised, loaded, factor), which stores the elements from i on
//   Incoming   where the gradient g behind the normalisation comes from: kFromNormalised, Loaded<N>,
//              load<N>(i), gradient(loaded, normalised), and keep(i, loaded, gradient), which the first pass
//              calls once for every element; kUnroll, the rows that a thread of that pass has in flight
// Loaded is what a functor reads from memory itself; the kernels ask for it early, together with x.

#include "kernels/batch_norm/moments.cuh"
#include "kernels/core/dtype.h"

namespace zeroth::ZEROTH_NATIVE {

inline constexpr int kChannelUnroll = 8;   // rows a thread has in flight
inline constexpr int kMaxPieces = 512;     // blocks of a first stage: about four an SM
inline constexpr int kWantedBlocks = 264;  // below two an SM of the largest parts, a thread takes fewer rows

/// A block covers `lanes` neighbouring packs of channels, `depth` rows at a time; its threads stride over the
/// rows. The grid is (pieces, tiles): pieces share the rows, tiles the channels. All follow from the sizes,
/// so sums are cut the same way on every device.
struct ChannelLayout {
  std::int64_t rows, channels;
  int lanes, depth;
  unsigned pieces, tiles;

  dim3 grid() const { return dim3(pieces, tiles); }
};

inline ChannelLayout channel_layout(std::int64_t rows, std::int64_t channels, int pack,
                                    std::int64_t max_pieces) {
  const std::int64_t packs = channels / pack;
  const std::int64_t lanes = packs < kChannelThreads ? packs : kChannelThreads,
                     depth = kChannelThreads / lanes;
  const std::int64_t tiles = (packs + lanes - 1) / lanes;
  const std::int64_t limit = max_pieces / tiles > 1 ? max_pieces / tiles : 1;
  std::int64_t rows_each = rows * tiles / (depth * kWantedBlocks);
  rows_each = rows_each < 1 ? 1 : (rows_each > kChannelUnroll ? kChannelUnroll : rows_each);
  return {rows,
          channels,
          static_cast<int>(lanes),
          static_cast<int>(depth),
          blocks_for(rows, static_cast<int>(depth * rows_each), limit),
          static_cast<unsigned>(tiles)};
}

/// Where a thread works: rows first, first + stride, ... of the channels from `channel` on. `count` is the
/// number of these rows; 0 for a thread outside the tensor.
struct ChannelThread {
  int lane, depth;
  std::int64_t channel, first, stride, count;
};

template <int kPack>
__device__ inline ChannelThread channel_thread(const ChannelLayout& layout) {
  ChannelThread t{};
  t.lane = static_cast<int>(threadIdx.x) % layout.lanes;
  t.depth = static_cast<int>(threadIdx.x) / layout.lanes;
  t.channel = (std::int64_t{blockIdx.y} * layout.lanes + t.lane) * kPack;
  t.first = std::int64_t{blockIdx.x} * layout.depth + t.depth;
  t.stride = std::int64_t{gridDim.x} * layout.depth;
  const bool inside = t.depth < layout.depth && t.channel < layout.channels && t.first < layout.rows;
  t.count = inside ? (layout.rows - 1 - t.first) / t.stride + 1 : 0;
  return t;
}

/// Rows of one piece.
__device__ inline std::int64_t piece_rows(const ChannelLayout& layout, std::int64_t piece) {
  const std::int64_t stride = std::int64_t{layout.pieces} * layout.depth;
  const std::int64_t rest = layout.rows % stride - piece * layout.depth;
  return layout.rows / stride * layout.depth + (rest < 0 ? 0 : (rest > layout.depth ? layout.depth : rest));
}

/// The moments of a thread's rows. kChannelUnroll rows wait in registers, so that their mean is known before
/// their deviations are summed.
template <class T, int kPack>
__device__ inline Moments<kPack> thread_moments(const T* x, const ChannelLayout& layout,
                                                const ChannelThread& t) {
  Moments<kPack> all{};
  const T* from = x + t.first * layout.channels + t.channel;
  const std::int64_t step = t.stride * layout.channels;
  for (std::int64_t done = 0; done < t.count; done += kChannelUnroll, from += kChannelUnroll * step) {
    const int rows = t.count - done < kChannelUnroll ? static_cast<int>(t.count - done) : kChannelUnroll;
    Pack<T, kPack> loaded[kChannelUnroll];
#pragma unroll
    for (int u = 0; u < kChannelUnroll; ++u)
      loaded[u] = u < rows ? load_pack<kPack>(from + u * step) : Pack<T, kPack>{};  // zeros add nothing
    Moments<kPack> some{static_cast<float>(rows), {}, {}};
    const float inverse = 1.0f / static_cast<float>(rows);
#pragma unroll
    for (int e = 0; e < kPack; ++e) {
      float sum = 0.0f;
#pragma unroll
      for (int u = 0; u < kChannelUnroll; ++u) sum += to_compute(loaded[u].value[e]);
      const float mean = sum * inverse;
      float m2 = 0.0f;
#pragma unroll
      for (int u = 0; u < kChannelUnroll; ++u) {
        const float deviation = u < rows ? to_compute(loaded[u].value[e]) - mean : 0.0f;
        m2 += deviation * deviation;
      }
      some.mean[e] = mean;
      some.m2[e] = m2;
    }
    join_moments(all, some);
  }
  return all;
}

/// First stage: piece p leaves the means of its rows in pieces[p][0][C] and the squared deviations from them
/// in pieces[p][1][C]. The threads of a lane join in a tree.
template <class T, int kPack>
__global__ void __launch_bounds__(kChannelThreads)
    piece_moments_kernel(const T* x, ChannelLayout layout, float* pieces) {
  ZEROTH_SHARED(float, means, [kPack][kChannelThreads]);
  ZEROTH_SHARED(float, m2s, [kPack][kChannelThreads]);
  ZEROTH_SHARED(float, counts, [kChannelThreads]);
  const ChannelThread t = channel_thread<kPack>(layout);
  Moments<kPack> mine = thread_moments<T, kPack>(x, layout, t);
  const auto publish = [&] {
    counts[threadIdx.x] = mine.count;
    for (int e = 0; e < kPack; ++e) means[e][threadIdx.x] = mine.mean[e], m2s[e][threadIdx.x] = mine.m2[e];
  };
  publish();
  for (int left = layout.depth; left > 1;) {
    const int half = (left + 1) / 2;
    __syncthreads();
    if (t.depth + half < left) {  // reads what a thread wrote that has no further part in this
      const int other = static_cast<int>(threadIdx.x) + half * layout.lanes;
      Moments<kPack> theirs{counts[other], {}, {}};
      for (int e = 0; e < kPack; ++e) theirs.mean[e] = means[e][other], theirs.m2[e] = m2s[e][other];
      join_moments(mine, theirs);
      publish();
    }
    left = half;
  }
  if (t.depth != 0 || t.channel >= layout.channels) return;
  float* to = pieces + std::int64_t{blockIdx.x} * 2 * layout.channels + t.channel;
  for (int e = 0; e < kPack; ++e) to[e] = mine.mean[e], to[layout.channels + e] = mine.m2[e];
}

/// Finishes (x - mean) * scale + beta. With kFromVariance, `spread` holds variances, else 1 / deviations.
template <class T, int kPack, bool kFromVariance, class Finish>
__global__ void __launch_bounds__(kChannelThreads)
    normalise_kernel(const T* x, ChannelLayout layout, const float* gamma, const float* beta,
                     const float* mean, const float* spread, float eps, Finish finish) {
  const ChannelThread t = channel_thread<kPack>(layout);
  if (t.count == 0) return;
  const float factor = finish.factor();
  float center[kPack], scale[kPack], shift[kPack];
  for (int e = 0; e < kPack; ++e) {
    const std::int64_t c = t.channel + e;
    center[e] = mean[c];
    scale[e] = gamma[c] * (kFromVariance ? 1.0f / sqrtf(spread[c] + eps) : spread[c]);
    shift[e] = beta[c];
  }
  constexpr int kUnroll = kChannelUnroll / 2;
  std::int64_t at = t.first * layout.channels + t.channel;
  const std::int64_t step = t.stride * layout.channels;
  for (std::int64_t done = 0; done < t.count; done += kUnroll, at += kUnroll * step) {
    Pack<T, kPack> loaded[kUnroll] = {};
    typename Finish::template Loaded<kPack> more[kUnroll] = {};
#pragma unroll
    for (int u = 0; u < kUnroll; ++u)
      if (done + u < t.count) {
        loaded[u] = load_pack<kPack>(x + at + u * step);
        more[u] = finish.template load<kPack>(at + u * step);
      }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      if (done + u >= t.count) break;
      Pack<float, kPack> normalised;
      for (int e = 0; e < kPack; ++e)
        normalised.value[e] = (to_compute(loaded[u].value[e]) - center[e]) * scale[e] + shift[e];
      finish(at + u * step, normalised, more[u], factor);
    }
  }
}

/// What a channel's normalisation is made of, each (C); gamma and beta only where a gradient needs the
/// normalised value.
struct ChannelConstants {
  const float *gamma, *beta, *mean, *inverse_std;
};

/// The constants of a thread's channels, in registers.
template <int kPack>
struct Normalisation {
  float center[kPack] = {}, scale[kPack] = {}, shift[kPack] = {};

  template <bool kWithScale>
  __device__ void load(const ChannelConstants& constants, std::int64_t channel) {
    for (int e = 0; e < kPack; ++e) {
      center[e] = constants.mean[channel + e];
      if constexpr (kWithScale) {
        scale[e] = constants.gamma[channel + e] * constants.inverse_std[channel + e];
        shift[e] = constants.beta[channel + e];
      }
    }
  }
};

/// First stage of the gradient: piece p leaves sum g and sum g * (x - mean) * inverse_std of its rows in
/// pieces[p][0][C] and pieces[p][1][C].
template <class T, int kPack, class Incoming>
__global__ void __launch_bounds__(kChannelThreads, 2)
    piece_gradients_kernel(Incoming incoming, const T* x, ChannelLayout layout, ChannelConstants constants,
                           float* pieces) {
  ZEROTH_SHARED(float, slots, [2 * kPack][kChannelThreads]);
  const ChannelThread t = channel_thread<kPack>(layout);
  float total[2 * kPack] = {};
  Normalisation<kPack> n;
  if (t.count > 0) n.template load<Incoming::kFromNormalised>(constants, t.channel);
  constexpr int kUnroll = Incoming::kUnroll;
  std::int64_t at = t.first * layout.channels + t.channel;
  const std::int64_t step = t.stride * layout.channels;
  for (std::int64_t done = 0; done < t.count; done += kUnroll, at += kUnroll * step) {
    Pack<T, kPack> loaded[kUnroll] = {};
    typename Incoming::template Loaded<kPack> more[kUnroll] = {};
#pragma unroll
    for (int u = 0; u < kUnroll; ++u)
      if (done + u < t.count) {
        loaded[u] = load_pack<kPack>(x + at + u * step);
        more[u] = incoming.template load<kPack>(at + u * step);
      }
    float part[2 * kPack] = {};
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      if (done + u >= t.count) break;
      Pack<float, kPack> deviation, normalised{};
      for (int e = 0; e < kPack; ++e) {
        deviation.value[e] = to_compute(loaded[u].value[e]) - n.center[e];
        if constexpr (Incoming::kFromNormalised)
          normalised.value[e] = deviation.value[e] * n.scale[e] + n.shift[e];
      }
      const Pack<float, kPack> gradient = incoming.gradient(more[u], normalised);
      incoming.keep(at + u * step, more[u], gradient);
      for (int e = 0; e < kPack; ++e) {
        part[e] += gradient.value[e];
        part[kPack + e] += gradient.value[e] * deviation.value[e];
      }
    }
    for (int i = 0; i < 2 * kPack; ++i) total[i] += part[i];
  }
  for (int i = 0; i < 2 * kPack; ++i) slots[i][threadIdx.x] = total[i];
  for (int left = layout.depth; left > 1;) {
    const int half = (left + 1) / 2;
    __syncthreads();
    if (t.depth + half < left)
      for (int i = 0; i < 2 * kPack; ++i)
        slots[i][threadIdx.x] += slots[i][static_cast<int>(threadIdx.x) + half * layout.lanes];
    left = half;
  }
  if (t.depth != 0 || t.channel >= layout.channels) return;
  float* to = pieces + std::int64_t{blockIdx.x} * 2 * layout.channels + t.channel;
  for (int e = 0; e < kPack; ++e) {
    to[e] = slots[e][threadIdx.x];
    to[layout.channels + e] = slots[kPack + e][threadIdx.x] * constants.inverse_std[t.channel + e];
  }
}

/// dx = g_scale * g - shift - (x - mean) * x_scale: coefficients[0..2][C] of a channel, in this order.
inline constexpr int kGradientCoefficients = 3;

/// Where the pass behind finish_gradients_kernel adds its channels' shares of dalpha (=|+=). Null: not
/// wanted.
struct AlphaGradient {
  const double* terms;
  float* dalpha;
  bool accumulate;

  /// All threads of one block call it.
  __device__ void write(std::int64_t channels, double* slots) const {
    double sum = 0.0;
    for (std::int64_t c = threadIdx.x; c < channels; c += blockDim.x) sum += terms[c];
    sum = block_sum(sum, slots);
    if (threadIdx.x == 0)
      *dalpha = static_cast<float>((accumulate ? static_cast<double>(*dalpha) : 0.0) + sum);
  }
};

/// The second pass of the gradient. Its first block adds up dalpha, which saves a launch.
template <class T, int kPack, bool kAccumulate, class Incoming>
__global__ void __launch_bounds__(kChannelThreads)
    input_gradient_kernel(Incoming incoming, const T* x, ChannelLayout layout, ChannelConstants constants,
                          const float* coefficients, AlphaGradient alpha_gradient, T* dx) {
  ZEROTH_SHARED(double, slots, [kWarpSize]);
  if (alpha_gradient.dalpha != nullptr && blockIdx.x == 0 && blockIdx.y == 0)
    alpha_gradient.write(layout.channels, slots);
  const ChannelThread t = channel_thread<kPack>(layout);
  if (t.count == 0) return;
  Normalisation<kPack> n;
  n.template load<Incoming::kFromNormalised>(constants, t.channel);
  float g_scale[kPack], shift[kPack], x_scale[kPack];
  for (int e = 0; e < kPack; ++e) {
    const std::int64_t c = t.channel + e;
    g_scale[e] = coefficients[c];
    shift[e] = coefficients[layout.channels + c];
    x_scale[e] = coefficients[2 * layout.channels + c];
  }
  constexpr int kUnroll = kChannelUnroll / 4;
  std::int64_t at = t.first * layout.channels + t.channel;
  const std::int64_t step = t.stride * layout.channels;
  for (std::int64_t done = 0; done < t.count; done += kUnroll, at += kUnroll * step) {
    Pack<T, kPack> loaded[kUnroll] = {}, result[kUnroll] = {};
    typename Incoming::template Loaded<kPack> more[kUnroll] = {};
#pragma unroll
    for (int u = 0; u < kUnroll; ++u)
      if (done + u < t.count) {
        loaded[u] = load_pack<kPack>(x + at + u * step);
        more[u] = incoming.template load<kPack>(at + u * step);
        if constexpr (kAccumulate) result[u] = load_pack<kPack>(dx + at + u * step);
      }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      if (done + u >= t.count) break;
      Pack<float, kPack> deviation, normalised{};
      for (int e = 0; e < kPack; ++e) {
        deviation.value[e] = to_compute(loaded[u].value[e]) - n.center[e];
        if constexpr (Incoming::kFromNormalised)
          normalised.value[e] = deviation.value[e] * n.scale[e] + n.shift[e];
      }
      const Pack<float, kPack> gradient = incoming.gradient(more[u], normalised);
      for (int e = 0; e < kPack; ++e) {
        const float value = g_scale[e] * gradient.value[e] - shift[e] - deviation.value[e] * x_scale[e];
        T& to = result[u].value[e];
        to = from_compute<T>(kAccumulate ? to_compute(to) + value : value);
      }
      store_pack(dx + at + u * step, result[u]);
    }
  }
}

/// Passes have no second stage to feed, so they may use more blocks than sums.
inline constexpr std::int64_t kMaxPassPieces = 4096;

/// Calls fn.operator()<T, kPack>(): packs of 16 bytes where C is a multiple of them, else single elements.
template <class Fn>
void with_pack(DType dtype, std::int64_t channels, Fn&& fn) {
  dispatch_storage(dtype, [&]<class T>(TypeTag<T>) {
    if (channels % kPackSize<T> == 0)
      fn.template operator()<T, kPackSize<T>>();
    else
      fn.template operator()<T, 1>();
  });
}

template <int kPack>
ChannelLayout sums_layout(std::int64_t rows, std::int64_t channels) {
  return channel_layout(rows, channels, kPack, kMaxPieces);
}

template <int kPack>
ChannelLayout pass_layout(std::int64_t rows, std::int64_t channels) {
  return channel_layout(rows, channels, kPack, kMaxPassPieces);
}

}  // namespace zeroth::ZEROTH_NATIVE
