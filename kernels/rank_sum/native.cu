// What the ranks of one process hold, combined in their order.
// Bytes moved: every source once, every result once. Bound by memory; a thread takes one element after the
// other, as ranges begin anywhere, so that an access is as wide as an element. It is there to check the
// arithmetic of ranks on one device, where nothing depends on its speed.

#include "kernels/core/block.cuh"
#include "kernels/rank_sum/combine.h"
#include "kernels/rank_sum/rank_sum.h"

namespace zeroth::ZEROTH_NATIVE {

namespace {

constexpr int kThreads = 256;

template <class T>
struct Pointers {
  const T* sources[RankSumParams::kMaxRanks];
  T* results[RankSumParams::kMaxRanks];
  int ranks, of_results;
};

template <class T>
__global__ void __launch_bounds__(kThreads)
    rank_sum_kernel(Pointers<T> pointers, std::int64_t elements, bool sum) {
  const std::int64_t threads = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < elements; i += threads) {
    const T value = combine_ranks(pointers.sources, pointers.ranks, i, sum);
    for (int result = 0; result < pointers.of_results; ++result) pointers.results[result][i] = value;
  }
}

bool supports(const RankSumParams& params) {
  return params.dtype != DType::u8;
}

void forward(Context& context, const RankSumParams& params, std::span<const ConstTensorView> sources,
             std::span<const TensorView> results) {
  if (params.elements == 0) return;
  dispatch_rank_sum(params.dtype, [&]<class T>(TypeTag<T>) {
    Pointers<T> pointers{};
    pointers.ranks = static_cast<int>(sources.size());
    pointers.of_results = static_cast<int>(results.size());
    for (std::size_t rank = 0; rank < sources.size(); ++rank)
      pointers.sources[rank] = sources[rank].as<T>() + params.source_first;
    for (std::size_t result = 0; result < results.size(); ++result)
      pointers.results[result] = results[result].as<T>() + params.result_first;
    launch(rank_sum_kernel<T>, dim3(blocks_for(params.elements, kThreads)), dim3(kThreads), 0,
           context.stream(), pointers, params.elements, params.sum);
  });
}

}  // namespace

const RankSumRow rank_sum_row{{"native", kNativeDevice, true}, supports, forward};

}  // namespace zeroth::ZEROTH_NATIVE
