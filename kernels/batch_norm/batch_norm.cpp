#include "kernels/batch_norm/batch_norm.h"

#include <fmt/format.h>

#include "kernels/batch_norm/checks.h"
#include "kernels/core/profile_range.h"

namespace zeroth {

std::string BatchNormParams::to_string() const {
  const std::string group_text = group == nullptr ? "" : fmt::format(" over {} ranks", group->size());
  return fmt::format("{}x{} {}{}", rows, channels, name_of(dtype), group_text);
}

std::span<const BatchNormRow> batch_norm_rows() {
  static const BatchNormRow rows[] = {cuda_native::batch_norm_row, cudnn::batch_norm_row,
                                      simt_native::batch_norm_row, cpu::batch_norm_row,
                                      reference::batch_norm_row};
  return rows;
}

namespace {

const BatchNormRow& select(const Context& context, const BatchNormParams& params) {
  check_batch_norm("batch_norm", params);
  return select_row(
      context, "batch_norm", batch_norm_rows(), [&](const BatchNormRow& row) { return row.supports(params); },
      [&] { return params.to_string(); });
}

}  // namespace

std::size_t batch_norm_workspace(Context& context, const BatchNormParams& params) {
  return select(context, params).workspace(context, params);
}

void batch_norm_forward_training(Context& context, const BatchNormParams& params, ConstTensorView x,
                                 ConstTensorView gamma, ConstTensorView beta, TensorView running_mean,
                                 TensorView running_var, TensorView y, TensorView mean,
                                 TensorView inverse_std, Workspace workspace) {
  const BatchNormRow& row = select(context, params);
  const ProfileRange range("batch_norm_forward_training", row.name);
  constexpr const char* kName = "batch_norm";
  check_enough_rows(kName, params);
  check_rows(kName, "x", x, params);
  check_rows(kName, "y", y, params);
  check_channels(kName, "gamma", gamma, params);
  check_channels(kName, "beta", beta, params);
  check_channels(kName, "running_mean", running_mean, params);
  check_channels(kName, "running_var", running_var, params);
  check_channels(kName, "mean", mean, params);
  check_channels(kName, "inverse_std", inverse_std, params);
  check_workspace(kName, workspace, row.workspace(context, params));
  row.forward_training(context, params, x, gamma, beta, running_mean, running_var, y, mean, inverse_std,
                       workspace);
}

void batch_norm_forward_inference(Context& context, const BatchNormParams& params, ConstTensorView x,
                                  ConstTensorView gamma, ConstTensorView beta, ConstTensorView running_mean,
                                  ConstTensorView running_var, TensorView y, Workspace workspace) {
  const BatchNormRow& row = select(context, params);
  const ProfileRange range("batch_norm_forward_inference", row.name);
  constexpr const char* kName = "batch_norm inference";
  check_rows(kName, "x", x, params);
  check_rows(kName, "y", y, params);
  check_channels(kName, "gamma", gamma, params);
  check_channels(kName, "beta", beta, params);
  check_channels(kName, "running_mean", running_mean, params);
  check_channels(kName, "running_var", running_var, params);
  check_workspace(kName, workspace, row.workspace(context, params));
  row.forward_inference(context, params, x, gamma, beta, running_mean, running_var, y, workspace);
}

void batch_norm_backward(Context& context, const BatchNormParams& params, ConstTensorView dy,
                         ConstTensorView x, ConstTensorView gamma, ConstTensorView mean,
                         ConstTensorView inverse_std, TensorView dx, GradMode dx_mode, TensorView dgamma,
                         TensorView dbeta, GradMode parameter_mode, Workspace workspace) {
  if (dx_mode == GradMode::skip && parameter_mode == GradMode::skip) return;
  const BatchNormRow& row = select(context, params);
  const ProfileRange range("batch_norm_backward", row.name);
  constexpr const char* kName = "batch_norm backward";
  check_rows(kName, "dy", dy, params);
  check_rows(kName, "x", x, params);
  check_channels(kName, "gamma", gamma, params);
  check_channels(kName, "mean", mean, params);
  check_channels(kName, "inverse_std", inverse_std, params);
  if (dx_mode != GradMode::skip) check_rows(kName, "dx", dx, params);
  if (parameter_mode != GradMode::skip) {
    check_channels(kName, "dgamma", dgamma, params);
    check_channels(kName, "dbeta", dbeta, params);
  }
  check_workspace(kName, workspace, row.workspace(context, params));
  row.backward(context, params, dy, x, gamma, mean, inverse_std, dx, dx_mode, dgamma, dbeta, parameter_mode,
               workspace);
}

}  // namespace zeroth
