#pragma once

// Cooperative groups on the host: see kernels/core/cooperative_groups.cuh.

#include "kernels/simt/warp.h"

namespace cooperative_groups {

/// The running thread's block.
class thread_block {
 public:
  void sync(ZEROTH_SITE) const {
    zeroth::simt::block_barrier("thread_block::sync", zeroth::simt::BarrierVote::none, false, {file, line});
  }
  static unsigned thread_rank() { return zeroth::simt::thread_rank(); }
  static unsigned num_threads() { return blockDim.x * blockDim.y * blockDim.z; }
  static unsigned size() { return num_threads(); }
  static dim3 thread_index() { return threadIdx; }
  static dim3 group_index() { return blockIdx; }
  static dim3 dim_threads() { return blockDim; }
  static dim3 group_dim() { return blockDim; }
};

inline thread_block this_thread_block() {
  return {};
}

/// All threads of the launch. They cannot wait for each other: blocks run one after the other.
class grid_group {
 public:
  static unsigned long long thread_rank() {
    return block_rank() * thread_block::num_threads() + thread_block::thread_rank();
  }
  static unsigned long long num_threads() { return num_blocks() * thread_block::num_threads(); }
  static unsigned long long size() { return num_threads(); }
  static unsigned long long block_rank() {
    return (static_cast<unsigned long long>(blockIdx.z) * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  }
  static unsigned long long num_blocks() {
    return static_cast<unsigned long long>(gridDim.x) * gridDim.y * gridDim.z;
  }
};

inline grid_group this_grid() {
  return {};
}

/// Aligned groups of kSize consecutive threads, a power of two up to 32.
template <unsigned kSize, class Parent = void>
class thread_block_tile {
  static_assert(kSize >= 1 && kSize <= 32 && (kSize & (kSize - 1)) == 0,
                "tiles have 1, 2, 4, 8, 16 or 32 threads");

 public:
  static unsigned thread_rank() { return zeroth::simt::thread_rank() % kSize; }
  static constexpr unsigned num_threads() { return kSize; }
  static constexpr unsigned size() { return kSize; }
  static unsigned meta_group_rank() { return zeroth::simt::thread_rank() / kSize; }
  static unsigned meta_group_size() { return (thread_block::num_threads() + kSize - 1) / kSize; }

  void sync(ZEROTH_SITE) const { __syncwarp(mask(), file, line); }
  template <class T>
  T shfl(T value, int source, ZEROTH_SITE) const {
    return __shfl_sync(mask(), value, source, kWidth, file, line);
  }
  template <class T>
  T shfl_up(T value, unsigned delta, ZEROTH_SITE) const {
    return __shfl_up_sync(mask(), value, delta, kWidth, file, line);
  }
  template <class T>
  T shfl_down(T value, unsigned delta, ZEROTH_SITE) const {
    return __shfl_down_sync(mask(), value, delta, kWidth, file, line);
  }
  template <class T>
  T shfl_xor(T value, unsigned lane_mask, ZEROTH_SITE) const {
    return __shfl_xor_sync(mask(), value, static_cast<int>(lane_mask), kWidth, file, line);
  }
  int any(int predicate, ZEROTH_SITE) const { return __any_sync(mask(), predicate, file, line); }
  int all(int predicate, ZEROTH_SITE) const { return __all_sync(mask(), predicate, file, line); }
  /// Bit i is the predicate of the tile's thread i.
  unsigned ballot(int predicate, ZEROTH_SITE) const {
    return __ballot_sync(mask(), predicate, file, line) >> first_lane();
  }

 private:
  static constexpr int kWidth = static_cast<int>(kSize);
  static unsigned first_lane() { return zeroth::simt::thread_rank() % 32 / kSize * kSize; }
  static unsigned mask() { return (0xffffffffu >> (32 - kSize)) << first_lane(); }
};

template <unsigned kSize, class Parent>
thread_block_tile<kSize, Parent> tiled_partition(const Parent&) {
  return {};
}

template <class T = void>
struct plus {
  T operator()(T a, T b) const { return a + b; }
};
template <class T = void>
struct less {
  T operator()(T a, T b) const { return b < a ? b : a; }
};
template <class T = void>
struct greater {
  T operator()(T a, T b) const { return a < b ? b : a; }
};

/// The combination of all threads' values, the same bits in every thread of the tile.
template <unsigned kSize, class Parent, class T, class Operator>
T reduce(const thread_block_tile<kSize, Parent>& tile, T value, Operator&& combine, ZEROTH_SITE) {
  for (unsigned distance = kSize / 2; distance > 0; distance /= 2)
    value = combine(value, tile.shfl_xor(value, distance, file, line));
  return value;
}

template <class Group>
void sync(const Group& group, ZEROTH_SITE) {
  group.sync(file, line);
}

}  // namespace cooperative_groups
