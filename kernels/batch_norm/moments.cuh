#pragma once

// Moments of sets of numbers that are joined in pairs, and the shape of second stages: blocks that join what
// the blocks of a first stage left, channel by channel.

#include "kernels/core/block.cuh"

namespace zeroth::ZEROTH_NATIVE {

inline constexpr int kChannelThreads = 256;
inline constexpr int kFinishChannels = 8;  // channels of a block of a second stage: one 32-byte sector
inline constexpr int kFinishLanes = kChannelThreads / kFinishChannels;

/// Mean and sum of squared deviations of `count` values, for each channel of a pack.
template <int kPack>
struct Moments {
  float count;
  float mean[kPack], m2[kPack];
};

/// Joins the moments of two sets (Chan, Golub and LeVeque, 1979).
template <int kPack>
__device__ inline void join_moments(Moments<kPack>& a, const Moments<kPack>& b) {
  if (b.count == 0.0f) return;
  const float count = a.count + b.count, share = b.count / count;
#pragma unroll
  for (int e = 0; e < kPack; ++e) {
    const float delta = b.mean[e] - a.mean[e];
    a.mean[e] += delta * share;
    a.m2[e] += b.m2[e] + delta * delta * (a.count * share);
  }
  a.count = count;
}

/// Adds over the lanes of a second stage's block, the same bits in each: thread lane * kFinishChannels + c.
__device__ inline double sum_over_lanes(double value, double* slots) {
  __syncthreads();
  slots[threadIdx.x] = value;
  for (int half = kFinishLanes / 2; half > 0; half /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < half * kFinishChannels)
      slots[threadIdx.x] += slots[threadIdx.x + static_cast<unsigned>(half * kFinishChannels)];
  }
  __syncthreads();
  return slots[threadIdx.x % kFinishChannels];
}

}  // namespace zeroth::ZEROTH_NATIVE
