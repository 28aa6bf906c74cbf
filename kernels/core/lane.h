#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/core/half.h"

namespace zeroth::cpu {

inline constexpr std::int64_t kLane = 16;  ///< channels worked on together: one cache line of f32

/// Values of sixteen channels. Functions take it by reference: by value its calling convention depends on the
/// instruction set.
using Lane = float __attribute__((vector_size(kLane * sizeof(float))));

namespace detail {

using Bits = std::uint32_t __attribute__((vector_size(kLane * sizeof(std::uint32_t))));
using HalfBits = std::uint16_t __attribute__((vector_size(kLane * sizeof(std::uint16_t))));

/// As to_float(bf16) and to_bf16(float) of half.h, sixteen at a time.
inline void widen(const HalfBits& narrow, Lane& lane) {
  const Bits bits = __builtin_convertvector(narrow, Bits) << 16;
  std::memcpy(&lane, &bits, sizeof(Lane));
}
inline void narrow(const Lane& lane, HalfBits& narrow) {
  Bits bits;
  std::memcpy(&bits, &lane, sizeof(Lane));
  const Bits rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  const Bits nan = bits | 0x400000u;
  bits = (bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded;
  narrow = __builtin_convertvector(bits >> 16, HalfBits);
}

}  // namespace detail

/// Sixteen channels, or the `width` first of them with zeros behind.
template <bool kFull, class T>
inline void load(const T* from, std::int64_t width, Lane& lane) {
  if constexpr (kFull && std::is_same_v<T, float>) {
    std::memcpy(&lane, from, sizeof(Lane));
  } else if constexpr (kFull && std::is_same_v<T, bf16>) {
    detail::HalfBits narrow;
    std::memcpy(&narrow, from, sizeof narrow);
    detail::widen(narrow, lane);
  } else {
    float values[kLane] = {};
    for (std::int64_t c = 0; c < (kFull ? kLane : width); ++c) values[c] = to_compute(from[c]);
    std::memcpy(&lane, values, sizeof(Lane));
  }
}

template <bool kFull, class T>
inline void store(const Lane& lane, std::int64_t width, T* to) {
  if constexpr (kFull && std::is_same_v<T, float>) {
    std::memcpy(to, &lane, sizeof(Lane));
  } else if constexpr (kFull && std::is_same_v<T, bf16>) {
    detail::HalfBits narrow;
    detail::narrow(lane, narrow);
    std::memcpy(to, &narrow, sizeof narrow);
  } else {
    float values[kLane];
    std::memcpy(values, &lane, sizeof(Lane));
    for (std::int64_t c = 0; c < (kFull ? kLane : width); ++c) to[c] = from_compute<T>(values[c]);
  }
}

}  // namespace zeroth::cpu
