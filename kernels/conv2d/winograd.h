#pragma once

#include "kernels/core/lane.h"

// Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray, "Fast algorithms for convolutional neural
// networks", 2016), the transforms for sixteen channels at a time. A tile of 6x6 pixels d and a filter g of
// 3x3 give 4x4 outputs
//   Y = A^T [(G g G^T) * (B^T d B)] A
// with 36 products where the sum itself has 144. The gradient of the filter is the transpose of that map:
//   dg = G^T [(A dY A^T) * (B^T d B)] G

namespace zeroth::cpu::winograd {

inline constexpr int kOutputs = 4, kTaps = 3, kPoints = kOutputs + kTaps - 1;

/// The polynomials behind the transforms are evaluated at 0, +-sqrt(1/2), +-sqrt(2) and infinity. The points
/// 0, +-1, +-2 of the paper round nearly twice as badly: their powers spread further.
inline constexpr float kNear = 0.70710678f, kFar = 1.41421356f;

// The one-dimensional maps: get(i, lane) fills in element i of kFrom, put(i, lane) takes element i of kTo.

/// B^T d: six to six.
struct InputMap {
  static constexpr int kFrom = kPoints, kTo = kPoints;
  template <class Get, class Put>
  static void apply(const Get& get, const Put& put) {
    Lane d[kPoints];
    for (int i = 0; i < kPoints; ++i) get(i, d[i]);
    const Lane near_even = d[4] - 2.0f * d[2], near_odd = kNear * (d[3] - 2.0f * d[1]);
    const Lane far_even = d[4] - 0.5f * d[2], far_odd = kFar * (d[3] - 0.5f * d[1]);
    put(0, d[0] - 2.5f * d[2] + d[4]);
    put(1, near_even + near_odd);
    put(2, near_even - near_odd);
    put(3, far_even + far_odd);
    put(4, far_even - far_odd);
    put(5, d[1] - 2.5f * d[3] + d[5]);
  }
};

/// A^T m: six to four.
struct OutputMap {
  static constexpr int kFrom = kPoints, kTo = kOutputs;
  template <class Get, class Put>
  static void apply(const Get& get, const Put& put) {
    Lane m[kPoints];
    for (int i = 0; i < kPoints; ++i) get(i, m[i]);
    const Lane near_sum = m[1] + m[2], near_difference = kNear * (m[1] - m[2]);
    const Lane far_sum = m[3] + m[4], far_difference = kFar * (m[3] - m[4]);
    put(0, m[0] + near_sum + far_sum);
    put(1, near_difference + far_difference);
    put(2, 0.5f * near_sum + 2.0f * far_sum);
    put(3, 0.5f * near_difference + 2.0f * far_difference + m[5]);
  }
};

/// A y: four to six.
struct OutputGradientMap {
  static constexpr int kFrom = kOutputs, kTo = kPoints;
  template <class Get, class Put>
  static void apply(const Get& get, const Put& put) {
    Lane y[kOutputs];
    for (int i = 0; i < kOutputs; ++i) get(i, y[i]);
    const Lane near_even = y[0] + 0.5f * y[2], near_odd = kNear * (y[1] + 0.5f * y[3]);
    const Lane far_even = y[0] + 2.0f * y[2], far_odd = kFar * (y[1] + 2.0f * y[3]);
    put(0, y[0]);
    put(1, near_even + near_odd);
    put(2, near_even - near_odd);
    put(3, far_even + far_odd);
    put(4, far_even - far_odd);
    put(5, y[3]);
  }
};

/// G g: three to six.
struct FilterMap {
  static constexpr int kFrom = kTaps, kTo = kPoints;
  template <class Get, class Put>
  static void apply(const Get& get, const Put& put) {
    Lane g[kTaps];
    for (int i = 0; i < kTaps; ++i) get(i, g[i]);
    const Lane near = g[0] + 0.5f * g[2], far = g[0] + 2.0f * g[2];
    put(0, g[0]);
    put(1, (-2.0f / 3.0f) * (near + kNear * g[1]));
    put(2, (-2.0f / 3.0f) * (near - kNear * g[1]));
    put(3, (1.0f / 6.0f) * (far + kFar * g[1]));
    put(4, (1.0f / 6.0f) * (far - kFar * g[1]));
    put(5, g[2]);
  }
};

/// G^T p: six to three.
struct FilterGradientMap {
  static constexpr int kFrom = kPoints, kTo = kTaps;
  template <class Get, class Put>
  static void apply(const Get& get, const Put& put) {
    Lane p[kPoints];
    for (int i = 0; i < kPoints; ++i) get(i, p[i]);
    const Lane near = (-2.0f / 3.0f) * (p[1] + p[2]), near_difference = (-2.0f / 3.0f) * (p[1] - p[2]);
    const Lane far = (1.0f / 6.0f) * (p[3] + p[4]), far_difference = (1.0f / 6.0f) * (p[3] - p[4]);
    put(0, p[0] + near + far);
    put(1, kNear * near_difference + kFar * far_difference);
    put(2, 0.5f * near + 2.0f * far + p[5]);
  }
};

/// A map on the columns of a square of kFrom x kFrom lanes and then on the rows of what that gives. get(row,
/// column, lane) fills in, put(row, column, lane) takes one of kTo x kTo.
template <class Map, class Get, class Put>
inline void transform(const Get& get, const Put& put) {
  Lane half[Map::kTo * Map::kFrom];
#pragma GCC unroll 6
  for (int j = 0; j < Map::kFrom; ++j)
    Map::apply([&](int i, Lane& lane) { get(i, j, lane); },
               [&](int i, const Lane& lane) { half[i * Map::kFrom + j] = lane; });
#pragma GCC unroll 6
  for (int i = 0; i < Map::kTo; ++i)
    Map::apply([&](int j, Lane& lane) { lane = half[i * Map::kFrom + j]; },
               [&](int j, const Lane& lane) { put(i, j, lane); });
}

}  // namespace zeroth::cpu::winograd
