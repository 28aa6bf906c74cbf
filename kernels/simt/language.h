#pragma once

// CUDA's keywords and built-in variables for a host compiler. They live where CUDA has them: outside any
// namespace.

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

namespace zeroth::simt {
/// threadIdx and its kin. Constant members: kernels cannot assign them, the scheduler makes them anew.
struct BuiltinIndex {
  const unsigned x, y, z;
  constexpr operator uint3() const { return {x, y, z}; }
};
}  // namespace zeroth::simt

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_extent = 1, unsigned y_extent = 1, unsigned z_extent = 1)
      : x(x_extent), y(y_extent), z(z_extent) {}
  constexpr dim3(uint3 from) : x(from.x), y(from.y), z(from.z) {}
  constexpr dim3(const zeroth::simt::BuiltinIndex& from) : x(from.x), y(from.y), z(from.z) {}
  constexpr operator uint3() const { return {x, y, z}; }
};

inline constexpr int warpSize = 32;

namespace zeroth::simt {

/// What the running thread sees of itself. Written by the scheduler at every switch.
struct ThreadView {
  BuiltinIndex thread_index;
  BuiltinIndex block_index;
  BuiltinIndex block_extents;
  BuiltinIndex grid_extents;
};

extern constinit thread_local ThreadView now;

/// A line of source. Taken with the default arguments of the functions that kernels call.
struct Site {
  const char* file = nullptr;
  int line = 0;
};

}  // namespace zeroth::simt

#define threadIdx (::zeroth::simt::now.thread_index)
#define blockIdx (::zeroth::simt::now.block_index)
#define blockDim (::zeroth::simt::now.block_extents)
#define gridDim (::zeroth::simt::now.grid_extents)
