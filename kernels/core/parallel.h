#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace zeroth {

/// Work below this many elements a thread is not worth waking threads for.
inline constexpr std::int64_t kParallelGrain = 16384;

/// Calls body(begin, end) over disjoint ranges covering [0, count), in parallel when `count * cost` is large
/// enough. `cost` is the number of elements one index touches. Ranges depend on the number of threads: for
/// sums that must not, cut the work into fixed pieces first and parallelise over pieces. The pool is
/// OpenMP's, which oneDNN shares.
template <class Body>
void parallel_for(std::int64_t count, std::int64_t cost, Body&& body) {
  const std::int64_t wanted = count * std::max<std::int64_t>(cost, 1) / kParallelGrain;
  const int threads = static_cast<int>(std::min<std::int64_t>({wanted, count, omp_get_max_threads()}));
  if (threads <= 1) {
    body(std::int64_t{0}, count);
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    const std::int64_t parts = omp_get_num_threads(), part = omp_get_thread_num();
    body(count * part / parts, count * (part + 1) / parts);
  }
}

}  // namespace zeroth
