#include "engine/parallel/rank_order.h"

#include <algorithm>
#include <array>

namespace zeroth {

namespace {

constexpr std::int64_t kBlock = 1024;  // elements whose sums stay in the first cache

template <class T, class Sum, class Widen, class Narrow>
void reduce(const T* parts, int ranks, std::int64_t n, RankReduction reduction, T* to, Widen widen,
            Narrow narrow) {
  std::array<Sum, kBlock> sums;
  for (std::int64_t begin = 0; begin < n; begin += kBlock) {
    const std::int64_t count = std::min(kBlock, n - begin);
    for (std::int64_t i = 0; i < count; ++i) sums[static_cast<std::size_t>(i)] = widen(parts[begin + i]);
    for (int rank = 1; rank < ranks; ++rank) {
      const T* part = parts + rank * n + begin;
      if (reduction == RankReduction::sum) {
        for (std::int64_t i = 0; i < count; ++i) sums[static_cast<std::size_t>(i)] += widen(part[i]);
      } else {
        for (std::int64_t i = 0; i < count; ++i) {
          const Sum value = widen(part[i]), most = sums[static_cast<std::size_t>(i)];
          sums[static_cast<std::size_t>(i)] = value > most || value != value ? value : most;
        }
      }
    }
    for (std::int64_t i = 0; i < count; ++i) to[begin + i] = narrow(sums[static_cast<std::size_t>(i)]);
  }
}

template <class T>
void reduce_floating(const void* parts, int ranks, std::int64_t n, RankReduction reduction, void* to) {
  reduce<T, compute_t<T>>(
      static_cast<const T*>(parts), ranks, n, reduction, static_cast<T*>(to),
      [](T x) { return to_compute(x); }, [](compute_t<T> x) { return from_compute<T>(x); });
}

}  // namespace

void check_exchanged(const char* collective, ConstTensorView values) {
  if (values.dtype == DType::u8)
    fail(ErrorKind::usage, std::string(collective) + ": ranks do not exchange u8 tensors");
}

void reduce_in_rank_order(const void* parts, int ranks, std::int64_t n, DType dtype, RankReduction reduction,
                          void* to) {
  if (dtype == DType::i32) {
    const auto same = [](std::int32_t x) { return x; };
    return reduce<std::int32_t, std::int32_t>(static_cast<const std::int32_t*>(parts), ranks, n, reduction,
                                              static_cast<std::int32_t*>(to), same, same);
  }
  if (dtype == DType::f64) return reduce_floating<double>(parts, ranks, n, reduction, to);
  dispatch_storage(dtype, [&]<class T>(TypeTag<T>) { reduce_floating<T>(parts, ranks, n, reduction, to); });
}

}  // namespace zeroth
