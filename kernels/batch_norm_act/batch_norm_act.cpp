#include "kernels/batch_norm_act/batch_norm_act.h"

#include <fmt/format.h>

#include "kernels/batch_norm/checks.h"
#include "kernels/core/profile_range.h"

namespace zeroth {

const char* name_of(Epilogue epilogue) {
  switch (epilogue) {
    case Epilogue::relu:
      return "relu";
    case Epilogue::plain:
      return "plain";
    case Epilogue::post:
      return "post";
    case Epilogue::authors:
      return "authors";
  }
  return "?";
}

std::string BatchNormActParams::to_string() const {
  return fmt::format("{} {}", name_of(epilogue), BatchNormParams::to_string());
}

std::span<const BatchNormActRow> batch_norm_act_rows() {
  static const BatchNormActRow rows[] = {cuda_native::batch_norm_act_row, simt_native::batch_norm_act_row,
                                         cpu::batch_norm_act_row, reference::batch_norm_act_row};
  return rows;
}

namespace {

const BatchNormActRow& select(const Context& context, const BatchNormActParams& params) {
  check_batch_norm("batch_norm_act", params);
  return select_row(
      context, "batch_norm_act", batch_norm_act_rows(),
      [&](const BatchNormActRow& row) { return row.supports(params); }, [&] { return params.to_string(); });
}

/// What training and inference have in common.
template <class Operands>
void check_forward(const char* operation, const BatchNormActParams& params, const Operands& o) {
  check_rows(operation, "x", o.x, params);
  check_rows(operation, "y", o.y, params);
  if (has_shortcut(params.epilogue)) check_rows(operation, "shortcut", o.shortcut, params);
  if (has_alpha(params.epilogue))
    check_operand(operation, "alpha", o.alpha, {1}, statistics_dtype(params.dtype));
  check_channels(operation, "gamma", o.gamma, params);
  check_channels(operation, "beta", o.beta, params);
  check_channels(operation, "running_mean", o.running_mean, params);
  check_channels(operation, "running_var", o.running_var, params);
}

}  // namespace

std::size_t batch_norm_act_workspace(Context& context, const BatchNormActParams& params) {
  return select(context, params).workspace(context, params);
}

void batch_norm_act_forward_training(Context& context, const BatchNormActParams& params,
                                     const BatchNormActTraining& operands, Workspace workspace) {
  const BatchNormActRow& row = select(context, params);
  const ProfileRange range("batch_norm_act_forward_training", row.name);
  constexpr const char* kName = "batch_norm_act";
  check_enough_rows(kName, params);
  check_forward(kName, params, operands);
  check_channels(kName, "mean", operands.mean, params);
  check_channels(kName, "inverse_std", operands.inverse_std, params);
  check_workspace(kName, workspace, row.workspace(context, params));
  row.forward_training(context, params, operands, workspace);
}

void batch_norm_act_forward_inference(Context& context, const BatchNormActParams& params,
                                      const BatchNormActInference& operands, Workspace workspace) {
  const BatchNormActRow& row = select(context, params);
  const ProfileRange range("batch_norm_act_forward_inference", row.name);
  constexpr const char* kName = "batch_norm_act inference";
  check_forward(kName, params, operands);
  check_workspace(kName, workspace, row.workspace(context, params));
  row.forward_inference(context, params, operands, workspace);
}

void batch_norm_act_backward(Context& context, const BatchNormActParams& params,
                             const BatchNormActGradients& o, Workspace workspace) {
  const BatchNormActRow& row = select(context, params);
  const ProfileRange range("batch_norm_act_backward", row.name);
  constexpr const char* kName = "batch_norm_act backward";
  const bool joins = has_shortcut(params.epilogue), scaled = has_alpha(params.epilogue);
  const DType statistics = statistics_dtype(params.dtype);
  check_rows(kName, "dy", o.dy, params);
  check_rows(kName, "x", o.x, params);
  if (joins && params.epilogue != Epilogue::authors) check_rows(kName, "y", o.y, params);
  check_channels(kName, "gamma", o.gamma, params);
  check_channels(kName, "beta", o.beta, params);
  check_channels(kName, "mean", o.mean, params);
  check_channels(kName, "inverse_std", o.inverse_std, params);
  if (scaled) check_operand(kName, "alpha", o.alpha, {1}, statistics);
  if (o.dx_mode != GradMode::skip) check_rows(kName, "dx", o.dx, params);
  if (joins && o.dshortcut_mode != GradMode::skip) check_rows(kName, "dshortcut", o.dshortcut, params);
  if (scaled && o.dalpha_mode != GradMode::skip) check_operand(kName, "dalpha", o.dalpha, {1}, statistics);
  if (o.parameter_mode != GradMode::skip) {
    check_channels(kName, "dgamma", o.dgamma, params);
    check_channels(kName, "dbeta", o.dbeta, params);
  }
  check_workspace(kName, workspace, row.workspace(context, params));
  row.backward(context, params, o, workspace);
}

}  // namespace zeroth
