#pragma once

// CUDA's keywords and built-in variables for a host compiler. They live where CUDA has them: outside any namespace.

#include <cstdint>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
// A plain __shared__ variable would be one per program, not one per block, and nothing could check it.
#define __shared__ _Pragma("GCC error \"declare shared memory with ZEROTH_SHARED\"")

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_extent = 1, unsigned y_extent = 1, unsigned z_extent = 1)
      : x(x_extent), y(y_extent), z(z_extent) {}
  constexpr dim3(uint3 from) : x(from.x), y(from.y), z(from.z) {}
  constexpr operator uint3() const { return {x, y, z}; }
};

inline constexpr int warpSize = 32;

namespace zeroth::simt {

/// What the running thread sees of itself. Written by the scheduler at every switch.
struct ThreadView {
  uint3 thread_index;
  uint3 block_index;
  uint3 block_extents;
  uint3 grid_extents;
};

extern constinit thread_local ThreadView now;

/// A line of source. Taken with the default arguments of the functions that kernels call.
struct Site {
  const char* file = nullptr;
  int line = 0;
};

}  // namespace zeroth::simt

// Macros, because a thread-local object that its scheduler changes cannot also be const to everybody else.
#define threadIdx (static_cast<const uint3&>(::zeroth::simt::now.thread_index))
#define blockIdx (static_cast<const uint3&>(::zeroth::simt::now.block_index))
#define blockDim (static_cast<const uint3&>(::zeroth::simt::now.block_extents))
#define gridDim (static_cast<const uint3&>(::zeroth::simt::now.grid_extents))
