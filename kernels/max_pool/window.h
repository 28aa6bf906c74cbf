#pragma once

#include "kernels/core/half.h"
#include "kernels/core/host_device.h"
#include "kernels/max_pool/max_pool.h"

// What one output and one input of maximum pooling are: every row, on host and device, calls these two
// functions.

namespace zeroth {

struct PoolWindow {
  std::int64_t h, w, c, p, q, window, stride, padding;
};

inline PoolWindow pool_window(const MaxPoolParams& params) {
  return {params.h, params.w, params.c, params.p(), params.q(), params.window, params.stride, params.padding};
}

/// The first maximum of the window of output (p, q), channel c. NaN beats every number, and the first NaN the
/// others.
template <class T>
ZEROTH_HD void pool_one(const PoolWindow& a, const T* picture, std::int64_t p, std::int64_t q, std::int64_t c,
                        T& y, std::uint8_t& winner) {
  bool any = false;
  T best_value{};
  std::int64_t best_at = 0;
  for (std::int64_t r = 0; r < a.window; ++r)
    for (std::int64_t s = 0; s < a.window; ++s) {
      const std::int64_t i = p * a.stride - a.padding + r, j = q * a.stride - a.padding + s;
      if (i < 0 || i >= a.h || j < 0 || j >= a.w) continue;
      const T value = picture[(i * a.w + j) * a.c + c];
      const auto best = to_compute(best_value), here = to_compute(value);
      if (any && !(here > best) && !(here != here && best == best)) continue;
      any = true;
      best_value = value;
      best_at = r * a.window + s;
    }
  y = best_value;
  winner = static_cast<std::uint8_t>(best_at);
}

/// The sum of dy over the windows that pixel (i, j) won, in scan order of the windows.
template <class T>
ZEROTH_HD compute_t<T> gathered(const PoolWindow& a, const T* dy, const std::uint8_t* winner, std::int64_t n,
                                std::int64_t i, std::int64_t j, std::int64_t c) {
  compute_t<T> sum{};
  for (std::int64_t r = a.window - 1; r >= 0; --r)
    for (std::int64_t s = a.window - 1; s >= 0; --s) {
      const std::int64_t top = i + a.padding - r, left = j + a.padding - s;
      if (top < 0 || left < 0 || top % a.stride != 0 || left % a.stride != 0) continue;
      const std::int64_t p = top / a.stride, q = left / a.stride;
      if (p >= a.p || q >= a.q) continue;
      const std::int64_t at = ((n * a.p + p) * a.q + q) * a.c + c;
      if (winner[at] == r * a.window + s) sum += to_compute(dy[at]);
    }
  return sum;
}

}  // namespace zeroth
