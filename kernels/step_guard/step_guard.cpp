#include "kernels/step_guard/step_guard.h"

#include <fmt/format.h>

#include <cmath>

#include "kernels/core/profile_range.h"

namespace zeroth {

std::string StepGuardParams::to_string() const {
  return fmt::format("{}, {} loss scale, gradient norm up to {}, {}", name_of(dtype),
                     dynamic ? "dynamic" : "fixed", max_norm, stop ? "stop" : "skip");
}

std::span<const StepGuardRow> step_guard_rows() {
  static const StepGuardRow rows[] = {cuda_native::step_guard_row, simt_native::step_guard_row,
                                      reference::step_guard_row};
  return rows;
}

namespace {

void check_params(const StepGuardParams& params) {
  const auto refuse = [](const char* name, double value, const char* expected) {
    fail(ErrorKind::usage, fmt::format("step_guard: {} is {}, expected {}", name, value, expected));
  };
  if (!(params.growth >= 1.0 && std::isfinite(params.growth))) refuse("growth", params.growth, "at least 1");
  if (!(params.backoff > 0.0 && params.backoff <= 1.0)) refuse("backoff", params.backoff, "0 < backoff <= 1");
  if (!(params.minimum > 0.0 && params.minimum <= params.maximum))
    refuse("minimum", params.minimum, "0 < minimum <= maximum");
  if (params.growth_interval < 1) refuse("growth_interval", params.growth_interval, "at least 1");
  if (params.hysteresis < 1) refuse("hysteresis", params.hysteresis, "at least 1");
  if (params.patience < 1) refuse("patience", params.patience, "at least 1");
  if (params.ranks < 1) refuse("ranks", params.ranks, "at least 1");
  if (!(params.max_norm >= 0.0)) refuse("max_norm", params.max_norm, "at least 0");
}

void check_restored(const char* name, ConstTensorView to, const char* before_name, ConstTensorView before,
                    DType dtype) {
  if (!to && !before) return;
  check_operand("step_guard", name, to, to.shape, dtype);
  check_operand("step_guard", before_name, before, to.shape, dtype);
}

}  // namespace

void step_guard_forward(Context& context, const StepGuardParams& params, const StepGuardOperands& operands) {
  check_params(params);
  const auto check = [](const char* name, ConstTensorView view, std::int64_t elements, DType dtype) {
    check_operand("step_guard", name, view, {elements}, dtype);
  };
  const std::int64_t parts = operands.sum_of_squares ? operands.sum_of_squares.elements() : 1;
  check("sum_of_squares", operands.sum_of_squares, parts, DType::f64);
  check("bad_segment", operands.bad_segment, parts, DType::i32);
  check("loss_scale", operands.loss_scale, 1, params.dtype);
  check("factor", operands.factor, 1, params.dtype);
  if (operands.seed) check("seed", operands.seed, 1, params.dtype);
  check("counters", operands.counters, kStepCounters, DType::i32);
  check("report", operands.report, kStepReportFields, DType::f64);
  check_restored("state", operands.state, "state_before", operands.state_before, params.dtype);
  check_restored("metrics", operands.metrics, "metrics_before", operands.metrics_before, DType::f64);
  const StepGuardRow& row = select_row(
      context, "step_guard", step_guard_rows(),
      [&](const StepGuardRow& candidate) { return candidate.supports(params); },
      [&] { return params.to_string(); });
  const ProfileRange range("step_guard_forward", row.name);
  row.forward(context, params, operands);
}

}  // namespace zeroth
