#include "kernels/rank_sum/combine.h"
#include "kernels/rank_sum/rank_sum.h"

namespace zeroth::reference {

namespace {

bool supports(const RankSumParams& params) {
  return params.dtype != DType::u8;
}

void forward(Context&, const RankSumParams& params, std::span<const ConstTensorView> sources,
             std::span<const TensorView> results) {
  dispatch_rank_sum(params.dtype, [&]<class T>(TypeTag<T>) {
    const T* from[RankSumParams::kMaxRanks];
    for (std::size_t rank = 0; rank < sources.size(); ++rank)
      from[rank] = sources[rank].as<T>() + params.source_first;
    for (std::int64_t i = 0; i < params.elements; ++i) {
      const T value = combine_ranks(from, static_cast<int>(sources.size()), i, params.sum);
      for (const TensorView& result : results) result.as<T>()[params.result_first + i] = value;
    }
  });
}

}  // namespace

const RankSumRow rank_sum_row{{"reference", DeviceKind::cpu, true}, supports, forward};

}  // namespace zeroth::reference
