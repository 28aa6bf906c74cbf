#pragma once

#include <bit>
#include <cstdint>

#include "kernels/core/host_device.h"

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace zeroth {

/// bfloat16 and IEEE binary16 as storage: arithmetic happens in float. Conversions round to nearest, ties to
/// even.
struct bf16 {
  std::uint16_t bits;
};
struct f16 {
  std::uint16_t bits;
};

#ifdef __CUDACC__
ZEROTH_HD inline float to_float(bf16 x) {
  return __bfloat162float(__nv_bfloat16(__nv_bfloat16_raw{x.bits}));
}
ZEROTH_HD inline float to_float(f16 x) {
  return __half2float(__half(__half_raw{x.bits}));
}
ZEROTH_HD inline bf16 to_bf16(float x) {
  return {static_cast<__nv_bfloat16_raw>(__float2bfloat16_rn(x)).x};
}
ZEROTH_HD inline f16 to_f16(float x) {
  return {static_cast<__half_raw>(__float2half_rn(x)).x};
}
#else
#if defined(__clang__) && __clang_major__ < 15
using Binary16 = __fp16;  // clang has had _Float16 on x86 since its version 15
#else
using Binary16 = _Float16;
#endif
inline float to_float(bf16 x) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16);
}
inline float to_float(f16 x) {
  Binary16 value;
  __builtin_memcpy(&value, &x.bits, sizeof value);
  return static_cast<float>(value);
}
inline bf16 to_bf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return {static_cast<std::uint16_t>((bits >> 16) | 0x40u)};  // quiet NaN
  return {static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}
inline f16 to_f16(float x) {
  const auto value = static_cast<Binary16>(x);
  f16 result;
  __builtin_memcpy(&result.bits, &value, sizeof value);
  return result;
}
#endif

/// The type that arithmetic on T uses: double for double, float for everything smaller.
template <class T>
struct ComputeType {
  using type = float;
};
template <>
struct ComputeType<double> {
  using type = double;
};
template <class T>
using compute_t = typename ComputeType<T>::type;

ZEROTH_HD inline float to_compute(float x) {
  return x;
}
ZEROTH_HD inline double to_compute(double x) {
  return x;
}
ZEROTH_HD inline float to_compute(bf16 x) {
  return to_float(x);
}
ZEROTH_HD inline float to_compute(f16 x) {
  return to_float(x);
}

/// Rounds a compute value to storage type T.
template <class T>
ZEROTH_HD inline T from_compute(compute_t<T> x);
template <>
ZEROTH_HD inline float from_compute<float>(float x) {
  return x;
}
template <>
ZEROTH_HD inline double from_compute<double>(double x) {
  return x;
}
template <>
ZEROTH_HD inline bf16 from_compute<bf16>(float x) {
  return to_bf16(x);
}
template <>
ZEROTH_HD inline f16 from_compute<f16>(float x) {
  return to_f16(x);
}

}  // namespace zeroth
