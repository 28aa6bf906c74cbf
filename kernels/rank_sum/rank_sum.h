#pragma once

#include <array>
#include <span>

#include "kernels/core/operation_table.h"

namespace zeroth {

/// Combines what several ranks of one process hold in their own buffers: with r ranks, for i below elements,
///   sum:  each result[result_first + i] = source_0[source_first + i] + ... + source_(r-1)[source_first + i]
///   otherwise the largest of them, NaN where any is NaN
/// Sums are taken in this order in f32 (f64 for f64, i32 for i32) and rounded once. Sources: of any one
/// length; results: one for each rank or a single one, of any one length; f64, f32, bf16, f16 or i32. A
/// result may be a source, with the same first element.
struct RankSumParams {
  static constexpr int kMaxRanks = 16;

  std::int64_t elements;
  std::int64_t source_first = 0, result_first = 0;
  DType dtype = DType::f32;
  bool sum = true;
  std::string to_string() const;
};

struct RankSumRow : Row {
  bool (*supports)(const RankSumParams&);
  void (*forward)(Context&, const RankSumParams&, std::span<const ConstTensorView> sources,
                  std::span<const TensorView> results);
};

/// Every implementation, in order of preference.
std::span<const RankSumRow> rank_sum_rows();

namespace reference {
extern const RankSumRow rank_sum_row;
}
namespace simt_native {
extern const RankSumRow rank_sum_row;
}
namespace cuda_native {
extern const RankSumRow rank_sum_row;
}

void rank_sum_forward(Context& context, const RankSumParams& params, std::span<const ConstTensorView> sources,
                      std::span<const TensorView> results);

}  // namespace zeroth
