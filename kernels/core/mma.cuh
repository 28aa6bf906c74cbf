#pragma once

// Tensor core instructions as functions. The fragments lie in registers as the PTX ISA lays them out ("Matrix
// fragments for mma.m16n8k16 with floating point type"): with group = lane / 4 and pair = lane % 4 * 2,
//   a: reg[0] = A[group][pair..+1],     reg[1] = A[group + 8][pair..+1],
//      reg[2] = A[group][pair + 8..+1], reg[3] = A[group + 8][pair + 8..+1]   A is (16, 16)
//   b: reg[0] = B[pair..+1][group],     reg[1] = B[pair + 8..+1][group]       B is (16, 8)
//   c: value[0..1] = C[group][pair..+1], value[2..3] = C[group + 8][pair..+1] C is (16, 8)
// Two 16-bit elements share a register, the one with the lower index in the low half. On the host the lanes
// exchange their fragments; the device rounds its sums in an order of its own, so last bits differ.

#include <cstdint>

#include "kernels/core/launch.cuh"

#ifndef __CUDACC__
#include "kernels/simt/warp_mma.h"
#endif

namespace zeroth::ZEROTH_NATIVE {

struct FragmentA {
  std::uint32_t reg[4];
};
struct FragmentB {
  std::uint32_t reg[2];
};
struct FragmentC {
  float value[4];
};

#ifdef __CUDACC__

namespace detail {
__device__ inline std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}
}  // namespace detail

/// c += a b, T being bf16 or f16. All lanes of the warp call it.
template <class T>
__device__ inline void mma_m16n8k16(FragmentC& c, const FragmentA& a, const FragmentB& b);

template <>
__device__ inline void mma_m16n8k16<bf16>(FragmentC& c, const FragmentA& a, const FragmentB& b) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c.value[0]), "+f"(c.value[1]), "+f"(c.value[2]), "+f"(c.value[3])
      : "r"(a.reg[0]), "r"(a.reg[1]), "r"(a.reg[2]), "r"(a.reg[3]), "r"(b.reg[0]), "r"(b.reg[1]));
}

template <>
__device__ inline void mma_m16n8k16<f16>(FragmentC& c, const FragmentA& a, const FragmentB& b) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c.value[0]), "+f"(c.value[1]), "+f"(c.value[2]), "+f"(c.value[3])
      : "r"(a.reg[0]), "r"(a.reg[1]), "r"(a.reg[2]), "r"(a.reg[3]), "r"(b.reg[0]), "r"(b.reg[1]));
}

/// Loads four 8 x 8 matrices of 16-bit elements from shared memory. Lane i passes the address of row i % 8 of
/// matrix i / 8: 16 bytes, 16-byte aligned. Register m of lane i gets elements (i / 4, i % 4 * 2) and the
/// next of matrix m; transposed, elements (i % 4 * 2, i / 4) and the one below. All lanes of the warp call
/// it. It reads what other lanes wrote: __syncwarp() or __syncthreads() must come between.
template <bool kTransposed = false>
__device__ inline void load_matrices_x4(std::uint32_t (&reg)[4], const void* row) {
  const std::uint32_t address = detail::shared_address(row);
  if constexpr (kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(reg[0]), "=r"(reg[1]), "=r"(reg[2]), "=r"(reg[3])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(reg[0]), "=r"(reg[1]), "=r"(reg[2]), "=r"(reg[3])
                 : "r"(address)
                 : "memory");
  }
}

#else

template <class T>
void mma_m16n8k16(FragmentC& c, const FragmentA& a, const FragmentB& b, const char* file = __builtin_FILE(),
                  int line = __builtin_LINE()) {
  simt::mma_m16n8k16(c.value, a.reg, b.reg, [](std::uint16_t bits) { return to_float(T{bits}); },
                     {file, line});
}

template <bool kTransposed = false>
void load_matrices_x4(std::uint32_t (&reg)[4], const void* row, const char* file = __builtin_FILE(),
                      int line = __builtin_LINE()) {
  simt::load_matrices_x4(reg, *static_cast<const simt::MatrixRow*>(row), kTransposed, {file, line});
}

#endif

}  // namespace zeroth::ZEROTH_NATIVE
