#pragma once

// Building blocks that several kernels share: vector loads, warp and block sums in a fixed order, grid sizes.

#include <cstdint>

#include "kernels/core/launch.cuh"

namespace zeroth::ZEROTH_NATIVE {

inline constexpr int kWarpSize = 32;

/// N values loaded or stored at once; the address must be a multiple of the pack's size.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T value[N];
};

/// How many T make a 16-byte load.
template <class T>
inline constexpr int kPackSize = 16 / static_cast<int>(sizeof(T));

template <int N, class T>
__device__ inline Pack<T, N> load_pack(const T* from) {
  return *reinterpret_cast<const Pack<T, N>*>(from);
}

template <class T, int N>
__device__ inline void store_pack(T* to, const Pack<T, N>& pack) {
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

/// Sum over the 32 lanes, the same bits in every lane: an exchange tree, whose order never changes.
template <class T>
__device__ inline T warp_sum(T value) {
  for (int distance = kWarpSize / 2; distance > 0; distance /= 2)
    value += __shfl_xor_sync(0xffffffffu, value, distance);
  return value;
}

/// Sum over a one-dimensional block of a multiple of 32 threads, at most 1024, returned to every thread. All
/// threads must call it. `slots` is shared memory for 32 values; it may be used again after the next
/// __syncthreads().
template <class T>
__device__ inline T block_sum(T value, T* slots) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize,
            warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int warps = static_cast<int>(blockDim.x) / kWarpSize;
  value = warp_sum(value);
  __syncthreads();
  if (lane == 0) slots[warp] = value;
  __syncthreads();
  T total{};
  for (int w = 0; w < warps; ++w) total += slots[w];
  return total;
}

/// Blocks that cover `items`, one item a thread, but no more than `limit`: kernels stride over the rest.
inline unsigned blocks_for(std::int64_t items, int threads, std::int64_t limit = 65536) {
  const std::int64_t blocks = (items + threads - 1) / threads;
  return static_cast<unsigned>(blocks < 1 ? 1 : (blocks > limit ? limit : blocks));
}

}  // namespace zeroth::ZEROTH_NATIVE
