#include "engine/step_guard.h"

#include "kernels/gradient_norm/gradient_norm.h"

namespace zeroth {

namespace {

void copy(Context& context, const Tensor& from, const Tensor& to) {
  if (from.elements() == 0) return;
  context.memory().copy_on_device(TensorView(to).data, ConstTensorView(from).data, from.bytes(),
                                  context.stream());
}

void fill(Context& context, const Tensor& scalar, double value) {
  dispatch_reference(scalar.dtype(), [&]<class T>(TypeTag<T>) {
    const T element = static_cast<T>(value);
    scalar.copy_from(context, std::as_bytes(std::span(&element, 1)));
  });
}

}  // namespace

StepGuard::StepGuard(Context& context, ParameterStore& store, const StepGuardConfig& config)
    : context_(context), store_(store), config_(config) {
  const DType dtype = store.flat_values().dtype();
  config_.params.dtype = dtype;
  sum_of_squares_ = Tensor::zeros(context, {1}, DType::f64);
  bad_segment_ = Tensor::zeros(context, {1}, DType::i32);
  loss_scale_ = Tensor::empty(context, {1}, dtype);
  fill(context, loss_scale_, config.loss_scale);
  factor_ = Tensor::zeros(context, {1}, dtype);
  counters_ = Tensor::zeros(context, {kStepCounters}, DType::i32);
  report_ = Tensor::zeros(context, {kStepReportFields}, DType::f64);
  state_before_ = Tensor::zeros(context, store.flat_state().shape(), dtype);
}

void StepGuard::watch_metrics(const Tensor& metrics) {
  metrics_ = metrics;
  metrics_before_ = Tensor::zeros(context_, metrics.shape(), metrics.dtype());
}

void StepGuard::begin_step() {
  copy(context_, store_.flat_state(), state_before_);
  if (metrics_.defined()) copy(context_, metrics_, metrics_before_);
}

void StepGuard::restore_state() {
  copy(context_, state_before_, store_.flat_state());
}

void StepGuard::judge(const FlatParams& params, const FlatParameters& parameters) {
  const std::size_t bytes = gradient_norm_workspace(context_, params);
  gradient_norm_forward(context_, params, parameters, sum_of_squares_, bad_segment_, context_.scratch(bytes));
  StepGuardOperands operands{sum_of_squares_, bad_segment_, loss_scale_, factor_, counters_, report_};
  if (state_before_.elements() > 0) {
    operands.state = store_.flat_state();
    operands.state_before = state_before_;
  }
  if (metrics_.defined()) {
    operands.metrics = metrics_;
    operands.metrics_before = metrics_before_;
  }
  step_guard_forward(context_, config_.params, operands);
}

StepReport StepGuard::take_report() {
  const std::vector<double> fields = report_.to_host<double>(context_);
  const std::vector<std::int32_t> counters = counters_.to_host<std::int32_t>(context_);
  const Tensor bad = report_.range(kFirstBadStep, {2});
  context_.memory().fill_zero(TensorView(bad).data, bad.bytes(), context_.stream());
  StepReport report;
  report.gradient_norm = fields[kGradientNorm];
  dispatch_reference(loss_scale_.dtype(), [&]<class T>(TypeTag<T>) {
    report.loss_scale = static_cast<double>(loss_scale_.to_host<T>(context_)[0]);
  });
  report.skipped = counters[kSkipped];
  report.stopped = counters[kStopped] != 0;
  report.stuck = counters[kStuckSteps];
  report.first_bad_step = static_cast<std::int64_t>(fields[kFirstBadStep]);
  if (report.first_bad_step == 0) return report;
  const auto element = static_cast<std::int64_t>(fields[kFirstBadSegment]) * kParameterSegment;
  for (const Parameter& parameter : store_.parameters())
    if (parameter.offset <= element) report.first_bad_parameter = parameter.name;
  return report;
}

void StepGuard::resume_at(std::int64_t steps) {
  std::vector<std::int32_t> counters = counters_.to_host<std::int32_t>(context_);
  if (counters[kSteps] == steps) return;
  std::fill(counters.begin(), counters.end(), 0);
  counters[kSteps] = counters[kUpdates] = static_cast<std::int32_t>(steps);
  counters_.copy_from(context_, std::as_bytes(std::span(counters)));
  fill(context_, loss_scale_, config_.loss_scale);
}

}  // namespace zeroth
