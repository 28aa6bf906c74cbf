#pragma once

// One element of all ranks, which host and device share.

#include <type_traits>

#include "kernels/core/dtype.h"
#include "kernels/core/host_device.h"

namespace zeroth {

/// In what elements of T are added: i32 as it is.
template <class T, bool kInteger = std::is_integral_v<T>>
struct RankSumOf {
  using type = compute_t<T>;
  ZEROTH_HD static type widen(T x) { return to_compute(x); }
  ZEROTH_HD static T narrow(type x) { return from_compute<T>(x); }
};
template <class T>
struct RankSumOf<T, true> {
  using type = T;
  ZEROTH_HD static T widen(T x) { return x; }
  ZEROTH_HD static T narrow(T x) { return x; }
};

template <class T>
ZEROTH_HD inline T combine_ranks(const T* const* sources, int ranks, std::int64_t i, bool sum) {
  using Of = RankSumOf<T>;
  typename Of::type result = Of::widen(sources[0][i]);
  for (int rank = 1; rank < ranks; ++rank) {
    const typename Of::type value = Of::widen(sources[rank][i]);
    if (sum)
      result += value;
    else if (value > result || value != value)
      result = value;
  }
  return Of::narrow(result);
}

/// Calls fn(TypeTag<T>{}) for the dtypes of rank_sum.
template <class Fn>
void dispatch_rank_sum(DType dtype, Fn&& fn) {
  if (dtype == DType::i32) return fn(TypeTag<std::int32_t>{});
  if (dtype == DType::f64) return fn(TypeTag<double>{});
  dispatch_storage(dtype, fn);
}

}  // namespace zeroth
