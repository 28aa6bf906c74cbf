#pragma once

#include "kernels/max_pool/max_pool.h"

namespace zeroth {

/// The first maximum of the window of output (p, q), channel c; NaN beats every number and later NaNs lose to
/// the first.
template <class T>
void pool_one(const MaxPoolParams& a, const T* picture, std::int64_t p, std::int64_t q, std::int64_t c, T& y,
              std::uint8_t& winner) {
  bool any = false;
  for (std::int64_t r = 0; r < a.window; ++r)
    for (std::int64_t s = 0; s < a.window; ++s) {
      const std::int64_t i = p * a.stride - a.padding + r, j = q * a.stride - a.padding + s;
      if (i < 0 || i >= a.h || j < 0 || j >= a.w) continue;
      const T value = picture[(i * a.w + j) * a.c + c];
      const auto best = to_compute(y), here = to_compute(value);
      if (any && !(here > best) && !(here != here && best == best)) continue;
      any = true;
      y = value;
      winner = static_cast<std::uint8_t>(r * a.window + s);
    }
}

/// The sum of dy over the windows that pixel (i, j) won, in scan order of the windows.
template <class T>
compute_t<T> gathered(const MaxPoolParams& a, const T* dy, const std::uint8_t* winner, std::int64_t n,
                      std::int64_t i, std::int64_t j, std::int64_t c) {
  compute_t<T> sum{};
  for (std::int64_t r = a.window - 1; r >= 0; --r)
    for (std::int64_t s = a.window - 1; s >= 0; --s) {
      const std::int64_t top = i + a.padding - r, left = j + a.padding - s;
      if (top < 0 || left < 0 || top % a.stride != 0 || left % a.stride != 0) continue;
      const std::int64_t p = top / a.stride, q = left / a.stride;
      if (p >= a.p() || q >= a.q()) continue;
      const std::int64_t at = ((n * a.p() + p) * a.q() + q) * a.c + c;
      if (winner[at] == r * a.window + s) sum += to_compute(dy[at]);
    }
  return sum;
}

}  // namespace zeroth
