#pragma once

#include "engine/parallel/communicator.h"

namespace zeroth {

/// Throws Error(usage), naming the collective, unless the dtype is one that ranks exchange.
void check_exchanged(const char* collective, ConstTensorView values);

/// `to` (n) becomes the reduction of `parts` (ranks * n, host memory) in the order of ranks: sums in f32, f64
/// for f64, i32 for i32, rounded once; the maximum of anything and NaN is NaN. `to` may be one of the parts.
void reduce_in_rank_order(const void* parts, int ranks, std::int64_t n, DType dtype, RankReduction reduction,
                          void* to);

/// Of `n` elements, rank r's share: [begin, end). Shares differ by one element at most.
struct Share {
  std::int64_t begin, end;
  std::int64_t count() const { return end - begin; }
};
inline Share share_of(std::int64_t n, int rank, int ranks) {
  return {n * rank / ranks, n * (rank + 1) / ranks};
}

}  // namespace zeroth
