#include "kernels/batch_norm/batch_norm.h"

#include <fmt/format.h>

#include "kernels/core/profile_range.h"

namespace zeroth {

std::string BatchNormParams::to_string() const {
  return fmt::format("{}x{} {}", rows, channels, name_of(dtype));
}

std::span<const BatchNormRow> batch_norm_rows() {
  static const BatchNormRow rows[] = {cuda_native::batch_norm_row, cudnn::batch_norm_row,
                                      simt_native::batch_norm_row, cpu::batch_norm_row,
                                      reference::batch_norm_row};
  return rows;
}

namespace {

const BatchNormRow& select(const Context& context, const BatchNormParams& params) {
  if (params.rows < 0 || params.channels < 1)
    fail(ErrorKind::usage, "batch_norm: sizes must be positive: " + params.to_string());
  if (!(params.eps > 0.0) || !(params.momentum >= 0.0 && params.momentum <= 1.0))
    fail(ErrorKind::usage, fmt::format("batch_norm: eps {} must be positive and momentum {} lie in [0, 1]",
                                       params.eps, params.momentum));
  return select_row(
      context, "batch_norm", batch_norm_rows(), [&](const BatchNormRow& row) { return row.supports(params); },
      [&] { return params.to_string(); });
}

/// (rows, C) and (N, H, W, C) are the same memory: the views are checked by size and last extent.
void check_rows(const char* operation, const char* operand, ConstTensorView view,
                const BatchNormParams& params) {
  if (!view && params.rows > 0) fail(ErrorKind::usage, fmt::format("{}: {} is missing", operation, operand));
  const int rank = view.shape.rank();
  if (rank < 1 || view.shape[rank - 1] != params.channels)
    fail(ErrorKind::usage, fmt::format("{}: {} has shape {}, expected {} channels last", operation, operand,
                                       view.shape.to_string(), params.channels));
  ConstTensorView flat = view;
  if (view.elements() == params.rows * params.channels) flat.shape = {params.rows, params.channels};
  check_operand(operation, operand, flat, {params.rows, params.channels}, params.dtype);
}

void check_channels(const char* operation, const char* operand, ConstTensorView view,
                    const BatchNormParams& params) {
  check_operand(operation, operand, view, {params.channels}, statistics_dtype(params.dtype));
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
  if (params.rows < 2)
    fail(ErrorKind::usage, "batch_norm: training needs at least two values a channel, this batch has " +
                               std::to_string(params.rows) + ": train with a larger batch");
  constexpr const char* kName = "batch_norm";
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
