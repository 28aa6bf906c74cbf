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

// The one-dimensional maps: get(i, lane) fills in element i of kFrom, put(i, lane) takes element i of kTo.

/// B^T d: six to six.
struct InputMap {
  static constexpr int kFrom = kPoints, kTo = kPoints;
  template <class Get, class Put>
  static void apply(const Get& get, const Put& put) {
    Lane d[kPoints];
    for (int i = 0; i < kPoints; ++i) get(i, d[i]);
    const Lane even = d[4] - 4.0f * d[2], odd = d[3] - 4.0f * d[1];
    const Lane far_even = d[4] - d[2], far_odd = 2.0f * (d[3] - d[1]);
    put(0, 4.0f * d[0] - 5.0f * d[2] + d[4]);
    put(1, even + odd);
    put(2, even - odd);
    put(3, far_even + far_odd);
    put(4, far_even - far_odd);
    put(5, 4.0f * d[1] - 5.0f * d[3] + d[5]);
  }
};

/// A^T m: six to four.
struct OutputMap {
  static constexpr int kFrom = kPoints, kTo = kOutputs;
  template <class Get, class Put>
  static void apply(const Get& get, const Put& put) {
    Lane m[kPoints];
    for (int i = 0; i < kPoints; ++i) get(i, m[i]);
    const Lane sum = m[1] + m[2], difference = m[1] - m[2];
    const Lane far_sum = m[3] + m[4], far_difference = m[3] - m[4];
    put(0, m[0] + sum + far_sum);
    put(1, difference + 2.0f * far_difference);
    put(2, sum + 4.0f * far_sum);
    put(3, difference + 8.0f * far_difference + m[5]);
  }
};

/// A y: four to six.
struct OutputGradientMap {
  static constexpr int kFrom = kOutputs, kTo = kPoints;
  template <class Get, class Put>
  static void apply(const Get& get, const Put& put) {
    Lane y[kOutputs];
    for (int i = 0; i < kOutputs; ++i) get(i, y[i]);
    const Lane even = y[0] + y[2], odd = y[1] + y[3];
    const Lane far_even = y[0] + 4.0f * y[2], far_odd = 2.0f * y[1] + 8.0f * y[3];
    put(0, y[0]);
    put(1, even + odd);
    put(2, even - odd);
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
    const Lane sum = g[0] + g[2], far_sum = g[0] + 4.0f * g[2];
    put(0, 0.25f * g[0]);
    put(1, (-1.0f / 6.0f) * (sum + g[1]));
    put(2, (-1.0f / 6.0f) * (sum - g[1]));
    put(3, (1.0f / 24.0f) * (far_sum + 2.0f * g[1]));
    put(4, (1.0f / 24.0f) * (far_sum - 2.0f * g[1]));
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
    const Lane sum = p[1] + p[2], far_sum = p[3] + p[4];
    put(0, 0.25f * p[0] - (1.0f / 6.0f) * sum + (1.0f / 24.0f) * far_sum);
    put(1, (1.0f / 6.0f) * (p[2] - p[1]) + (1.0f / 12.0f) * (p[3] - p[4]));
    put(2, (1.0f / 6.0f) * (far_sum - sum) + p[5]);
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
