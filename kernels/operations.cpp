#include "kernels/operations.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/adamw/adamw.h"
#include "kernels/augment/augment.h"
#include "kernels/avg_pool/avg_pool.h"
#include "kernels/batch_norm_act/batch_norm_act.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d_stats/conv2d_stats.h"
#include "kernels/gradient_norm/gradient_norm.h"
#include "kernels/linear/linear.h"
#include "kernels/max_pool/max_pool.h"
#include "kernels/rank_sum/rank_sum.h"
#include "kernels/reduce/reduce.h"
#include "kernels/relu/relu.h"
#include "kernels/residual/residual.h"
#include "kernels/sgd/sgd.h"
#include "kernels/shortcut_a/shortcut_a.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"
#include "kernels/step_guard/step_guard.h"

namespace zeroth {

std::vector<RowInfo> all_rows() {
  std::vector<RowInfo> all;
  const auto add = [&](const char* operation, auto rows) {
    for (const Row& row : rows) all.push_back({operation, row});
  };
  add("conv2d", conv2d_rows());
  add("conv2d_stats", conv2d_stats_rows());
  add("batch_norm", batch_norm_rows());
  add("batch_norm_act", batch_norm_act_rows());
  add("relu", relu_rows());
  add("residual", residual_rows());
  add("shortcut_a", shortcut_a_rows());
  add("linear", linear_rows());
  add("avg_pool", avg_pool_rows());
  add("max_pool", max_pool_rows());
  add("softmax_cross_entropy", softmax_cross_entropy_rows());
  add("augment", augment_rows());
  add("gradient_norm", gradient_norm_rows());
  add("step_guard", step_guard_rows());
  add("sgd", sgd_rows());
  add("adamw", adamw_rows());
  add("reduce", reduce_rows());
  add("rank_sum", rank_sum_rows());
  return all;
}

std::vector<std::string> all_operations() {
  std::vector<std::string> names;
  for (const RowInfo& info : all_rows())
    if (names.empty() || names.back() != info.operation) names.push_back(info.operation);
  return names;
}

bool row_serves(const Row& row, DeviceKind kind, bool chosen_by_name) {
  return row.device == kind || (chosen_by_name && kind == DeviceKind::simt && row.device == DeviceKind::cpu);
}

void check_implementations(const Context& context) {
  const std::vector<RowInfo> rows = all_rows();
  for (const auto& [operation, chosen] : context.chosen_implementations()) {
    std::string here;
    bool known = false;
    std::vector<std::string> missing = chosen;
    for (const RowInfo& info : rows) {
      if (info.operation != operation) continue;
      known = true;
      if (!row_serves(info.row, context.device().kind, true)) continue;
      std::erase(missing, info.row.name);
      here += (here.empty() ? "" : ", ") + std::string(info.row.name);
    }
    if (!known) {
      std::string names;
      for (const std::string& other : all_operations()) names += (names.empty() ? "" : ", ") + other;
      fail(ErrorKind::usage, fmt::format("--impl: no operation '{}'; there are {}", operation, names));
    }
    if (!missing.empty())
      fail(ErrorKind::usage, fmt::format("--impl: {} has no row '{}' on {}; there are {}", operation,
                                         missing.front(), name_of(context.device().kind), here));
  }
}

void choose_deterministic_rows(Context& context) {
  const std::vector<RowInfo> rows = all_rows();
  for (const std::string& operation : all_operations()) {
    const Row* first = nullptr;
    bool all_are = true;
    for (const RowInfo& info : rows) {
      if (info.operation != operation || !row_serves(info.row, context.device().kind, false)) continue;
      all_are = all_are && info.row.deterministic;
      if (first == nullptr && info.row.deterministic) first = &info.row;
    }
    if (all_are) continue;
    if (first == nullptr)
      fail(ErrorKind::usage, fmt::format("--deterministic: {} has no deterministic row on {}", operation,
                                         name_of(context.device().kind)));
    context.choose_implementation(operation + "=" + first->name);
  }
}

}  // namespace zeroth
