#pragma once

// CUDA's vector types, with CUDA's alignments: a vector of 2 or 4 is aligned like one load.

#include "kernels/simt/language.h"

#define ZEROTH_VECTOR_TYPE(scalar, name, align2, align4)                     \
  struct name##1 {                                                           \
    scalar x;                                                                \
  };                                                                         \
  struct alignas(align2) name##2 {                                           \
    scalar x, y;                                                             \
  };                                                                         \
  struct alignas(align4) name##4 {                                           \
    scalar x, y, z, w;                                                       \
  };                                                                         \
  constexpr name##1 make_##name##1(scalar x) {                               \
    return {x};                                                              \
  }                                                                          \
  constexpr name##2 make_##name##2(scalar x, scalar y) {                     \
    return {x, y};                                                           \
  }                                                                          \
  constexpr name##4 make_##name##4(scalar x, scalar y, scalar z, scalar w) { \
    return {x, y, z, w};                                                     \
  }

#define ZEROTH_VECTOR_TYPE_3(scalar, name)                         \
  struct name##3 {                                                 \
    scalar x, y, z;                                                \
  };                                                               \
  constexpr name##3 make_##name##3(scalar x, scalar y, scalar z) { \
    return {x, y, z};                                              \
  }

ZEROTH_VECTOR_TYPE(signed char, char, 2, 4)
ZEROTH_VECTOR_TYPE(unsigned char, uchar, 2, 4)
ZEROTH_VECTOR_TYPE(short, short, 4, 8)
ZEROTH_VECTOR_TYPE(unsigned short, ushort, 4, 8)
ZEROTH_VECTOR_TYPE(int, int, 8, 16)
ZEROTH_VECTOR_TYPE(unsigned, uint, 8, 16)
ZEROTH_VECTOR_TYPE(long long, longlong, 16, 16)
ZEROTH_VECTOR_TYPE(unsigned long long, ulonglong, 16, 16)
ZEROTH_VECTOR_TYPE(float, float, 8, 16)
ZEROTH_VECTOR_TYPE(double, double, 16, 16)
ZEROTH_VECTOR_TYPE_3(int, int)
ZEROTH_VECTOR_TYPE_3(float, float)
ZEROTH_VECTOR_TYPE_3(double, double)

constexpr uint3 make_uint3(unsigned x, unsigned y, unsigned z) {
  return {x, y, z};
}

#undef ZEROTH_VECTOR_TYPE
#undef ZEROTH_VECTOR_TYPE_3
