#include "kernels/rank_sum/rank_sum.h"

#include <fmt/format.h>

#include "kernels/core/profile_range.h"

namespace zeroth {

std::string RankSumParams::to_string() const {
  return fmt::format("{} of {} x {}", sum ? "sums" : "the largest", elements, name_of(dtype));
}

std::span<const RankSumRow> rank_sum_rows() {
  static const RankSumRow rows[] = {cuda_native::rank_sum_row, simt_native::rank_sum_row,
                                    reference::rank_sum_row};
  return rows;
}

namespace {

template <class View>
void check_views(const char* name, std::span<const View> views, std::int64_t first,
                 const RankSumParams& params) {
  for (const View& view : views) {
    check_operand("rank_sum", name, view, views[0].shape, params.dtype);
    if (first < 0 || first + params.elements > view.elements())
      fail(ErrorKind::usage, fmt::format("rank_sum: elements {} to {} do not lie in a {} of {}", first,
                                         first + params.elements, name, view.elements()));
  }
}

}  // namespace

void rank_sum_forward(Context& context, const RankSumParams& params, std::span<const ConstTensorView> sources,
                      std::span<const TensorView> results) {
  if (sources.empty() || sources.size() > RankSumParams::kMaxRanks || results.empty() ||
      results.size() > sources.size())
    fail(ErrorKind::usage, fmt::format("rank_sum: {} sources and {} results, expected 1 to {} sources and at "
                                       "most as many results",
                                       sources.size(), results.size(), RankSumParams::kMaxRanks));
  check_views("source", sources, params.source_first, params);
  check_views("result", results, params.result_first, params);
  const RankSumRow& row = select_row(
      context, "rank_sum", rank_sum_rows(),
      [&](const RankSumRow& candidate) { return candidate.supports(params); },
      [&] { return params.to_string(); });
  const ProfileRange range("rank_sum_forward", row.name);
  row.forward(context, params, sources, results);
}

}  // namespace zeroth
