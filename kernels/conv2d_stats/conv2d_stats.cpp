#include "kernels/conv2d_stats/conv2d_stats.h"

#include <fmt/format.h>

#include "kernels/core/profile_range.h"

namespace zeroth {

const char* name_of(Prologue prologue) {
  return prologue == Prologue::none ? "none" : "batch_norm_relu";
}

std::string Conv2dStatsParams::to_string() const {
  return prologue == Prologue::none ? Conv2dParams::to_string()
                                    : fmt::format("{} {}", name_of(prologue), Conv2dParams::to_string());
}

std::span<const Conv2dStatsRow> conv2d_stats_rows() {
  static const Conv2dStatsRow rows[] = {cuda_native::conv2d_stats_row, simt_native::conv2d_stats_row,
                                        reference::conv2d_stats_row};
  return rows;
}

namespace {

const Conv2dStatsRow& select(const Context& context, const Conv2dStatsParams& params) {
  check_convolution("conv2d_stats", params);
  if (params.n == 0) fail(ErrorKind::usage, "conv2d_stats: no picture has no moments: " + params.to_string());
  if (!(params.eps > 0.0))
    fail(ErrorKind::usage, fmt::format("conv2d_stats: eps is {}, not positive", params.eps));
  return select_row(
      context, "conv2d_stats", conv2d_stats_rows(),
      [&](const Conv2dStatsRow& row) { return row.supports(params); }, [&] { return params.to_string(); });
}

}  // namespace

std::size_t conv2d_stats_workspace(Context& context, const Conv2dStatsParams& params) {
  return select(context, params).workspace(context, params);
}

void conv2d_stats_forward(Context& context, const Conv2dStatsParams& params, const Conv2dStatsOperands& o,
                          Workspace workspace) {
  const Conv2dStatsRow& row = select(context, params);
  const ProfileRange range("conv2d_stats_forward", row.name);
  constexpr const char* kName = "conv2d_stats";
  const DType statistics = statistics_dtype(params.dtype);
  check_operand(kName, "x", o.x, params.x_shape(), params.dtype);
  check_operand(kName, "w", o.w, params.w_shape(), params.dtype);
  check_operand(kName, "y", o.y, params.y_shape(), params.dtype);
  check_operand(kName, "mean", o.mean, {params.k}, statistics);
  check_operand(kName, "variance", o.variance, {params.k}, statistics);
  if (params.prologue == Prologue::batch_norm_relu) {
    check_operand(kName, "x_mean", o.x_mean, {params.c}, statistics);
    check_operand(kName, "x_variance", o.x_variance, {params.c}, statistics);
    check_operand(kName, "gamma", o.gamma, {params.c}, statistics);
    check_operand(kName, "beta", o.beta, {params.c}, statistics);
  }
  check_workspace(kName, workspace, row.workspace(context, params));
  row.forward(context, params, o, workspace);
}

}  // namespace zeroth
