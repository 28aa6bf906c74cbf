#pragma once

// Moments of what picture_product_kernel writes, channel by channel. A lane keeps those of its pixels in
// registers from tile to tile: of a part's values their mean first, then the squared deviations from it,
// joined with those before (Chan, Golub and LeVeque, 1979). The lanes of a block join in a tree, its warps in
// order, its result is a piece; a second kernel joins the pieces in f64. Which pixels a block has depends on
// the sizes alone, so equal inputs give equal bits.

#include "kernels/batch_norm/moments.cuh"
#include "kernels/conv2d/mma.cuh"

namespace zeroth::ZEROTH_NATIVE {

/// Where pieces lie: (blocks, 2, C) floats, means and sums of squared deviations; the pixels of each block.
struct StatisticsPieces {
  float *moments, *counts;
};

template <class Tile>
class PieceStatistics {
 public:
  explicit PieceStatistics(const StatisticsPieces& pieces) : pieces_(pieces) {}

  /// Takes `rows` rows of a product; `left` and `right` say whether this lane's two columns are inside.
  template <class Product>
  __device__ void add(const Product& product, bool left, bool right, int rows) {
    Moments<kValues> some{static_cast<float>((int{left} + int{right}) * rows), {}, {}};
    const float inverse = some.count > 0.0f ? 1.0f / some.count : 0.0f;
    const auto inside = [&](int i, int half) { return i < rows && (half == 0 ? left : right); };
#pragma unroll
    for (int v = 0; v < kValues; ++v) {
      float sum = 0.0f, m2 = 0.0f;
#pragma unroll
      for (int i = 0; i < Tile::kRows; ++i)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          sum += inside(i, half) ? product.sum[i][v / 2].value[half * 2 + v % 2] : 0.0f;
      const float mean = sum * inverse;
#pragma unroll
      for (int i = 0; i < Tile::kRows; ++i)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float deviation =
              inside(i, half) ? product.sum[i][v / 2].value[half * 2 + v % 2] - mean : 0.0f;
          m2 += deviation * deviation;
        }
      some.mean[v] = mean;
      some.m2[v] = m2;
    }
    join_moments(all_, some);
  }

  /// Writes the block's piece. `shared` holds kWarps * (1 + 2 * kFilters) floats that nobody needs any more.
  __device__ void finish(unsigned char* shared) {
    for (int distance = 4; distance < kWarpSize; distance *= 2) {
      Moments<kValues> others{__shfl_xor_sync(0xffffffffu, all_.count, distance), {}, {}};
#pragma unroll
      for (int v = 0; v < kValues; ++v) {
        others.mean[v] = __shfl_xor_sync(0xffffffffu, all_.mean[v], distance);
        others.m2[v] = __shfl_xor_sync(0xffffffffu, all_.m2[v], distance);
      }
      join_moments(all_, others);
    }
    const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarpSize;
    constexpr int kSlots = 1 + 2 * Tile::kFilters;
    auto* slots = reinterpret_cast<float*>(shared);
    if (lane < 4) {  // lane q has channels 2 q, 2 q + 1 of every eight
      float* mine = slots + thread / kWarpSize * kSlots;
      if (lane == 0) mine[0] = all_.count;
      for (int v = 0; v < kValues; ++v) {
        const int channel = v / 2 * 8 + lane * 2 + v % 2;
        mine[1 + channel] = all_.mean[v];
        mine[1 + Tile::kFilters + channel] = all_.m2[v];
      }
    }
    __syncthreads();
    if (thread >= Tile::kChannels) return;
    Moments<1> total{};
    const int channel = thread % Tile::kFilters;
    for (int warp = thread / Tile::kFilters; warp < Tile::kWarps; warp += Tile::kFilterGroups) {
      const float* theirs = slots + warp * kSlots;
      join_moments(total,
                   Moments<1>{theirs[0], {theirs[1 + channel]}, {theirs[1 + Tile::kFilters + channel]}});
    }
    float* to = pieces_.moments + std::int64_t{blockIdx.x} * 2 * Tile::kChannels + thread;
    to[0] = total.mean[0];
    to[Tile::kChannels] = total.m2[0];
    if (thread == 0) pieces_.counts[blockIdx.x] = total.count;
  }

 private:
  static constexpr int kValues = Tile::kFilters / 4;  // channels of a lane
  StatisticsPieces pieces_;
  Moments<kValues> all_{};
};

/// The moments of all pieces: the mean first, then the deviations from it.
static __global__ void __launch_bounds__(kChannelThreads)
    finish_statistics_kernel(StatisticsPieces pieces, int blocks, int channels, double rows, float* mean,
                             float* variance) {
  ZEROTH_SHARED(double, slots, [kChannelThreads]);
  const int lane = static_cast<int>(threadIdx.x) / kFinishChannels;
  const int c =
      static_cast<int>(blockIdx.x) * kFinishChannels + static_cast<int>(threadIdx.x) % kFinishChannels;
  const auto piece = [&](int p, int which) {
    return static_cast<double>(pieces.moments[(2 * p + which) * channels + c]);
  };
  double sum = 0.0, m2 = 0.0;
  for (int p = lane; p < blocks; p += kFinishLanes)
    sum += static_cast<double>(pieces.counts[p]) * piece(p, 0);
  const double average = sum_over_lanes(sum, slots) / rows;
  for (int p = lane; p < blocks; p += kFinishLanes) {
    const double delta = piece(p, 0) - average;
    m2 += piece(p, 1) + static_cast<double>(pieces.counts[p]) * delta * delta;
  }
  m2 = sum_over_lanes(m2, slots);
  if (lane != 0) return;
  mean[c] = static_cast<float>(average);
  variance[c] = static_cast<float>(m2 / rows);
}

}  // namespace zeroth::ZEROTH_NATIVE
