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
  seed_ = Tensor::empty(context, {1}, dtype);
  config_.params.ranks = store.residency().ranks;
  set_loss_scale(config.loss_scale);
  factor_ = Tensor::zeros(context, {1}, dtype);
  counters_ = Tensor::zeros(context, {kStepCounters}, DType::i32);
  report_ = Tensor::zeros(context, {kStepReportFields}, DType::f64);
  state_before_ = Tensor::zeros(context, store.flat_state().shape(), dtype);
}

void StepGuard::set_loss_scale(double value) {
  fill(context_, loss_scale_, value);
  fill(context_, seed_, value / config_.params.ranks);
}

void StepGuard::judge_together(Communicator& communicator) {
  communicator_ = &communicator;
  config_.params.part_segments =
      static_cast<std::int32_t>(store_.flat_values().elements() / kParameterSegment);
  all_sums_ = Tensor::zeros(context_, {communicator.size()}, DType::f64);
  all_bad_segments_ = Tensor::zeros(context_, {communicator.size()}, DType::i32);
}

void StepGuard::watch_metrics(const Tensor& metrics) {
  metrics_ = metrics;
  metrics_before_ = Tensor::zeros(context_, metrics.shape(), metrics.dtype());
}

void StepGuard::begin_step() {
  copy(context_, store_.flat_state(), state_before_);
  if (metrics_.defined()) copy(context_, metrics_, metrics_before_);
}

void StepGuard::judge(const FlatParams& params, const FlatParameters& parameters) {
  const std::size_t bytes = gradient_norm_workspace(context_, params);
  gradient_norm_forward(context_, params, parameters, sum_of_squares_, bad_segment_, context_.scratch(bytes));
  if (communicator_ != nullptr) {
    communicator_->all_gather(context_, sum_of_squares_, all_sums_);
    communicator_->all_gather(context_, bad_segment_, all_bad_segments_);
    communicator_->join(context_);
  }
  const bool together = communicator_ != nullptr;
  StepGuardOperands operands{together ? all_sums_ : sum_of_squares_,
                             together ? all_bad_segments_ : bad_segment_,
                             loss_scale_,
                             factor_,
                             counters_,
                             report_};
  operands.seed = seed_;
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
  const Parameter* const bad_parameter =
      parameter_of_segment(static_cast<std::int64_t>(fields[kFirstBadSegment]));
  if (bad_parameter != nullptr) report.first_bad_parameter = bad_parameter->name;
  return report;
}

/// Of the segments of all parts, one behind the other.
const Parameter* StepGuard::parameter_of_segment(std::int64_t segment) const {
  std::int64_t element = segment * kParameterSegment;
  if (store_.shares()) {
    const std::int64_t own = store_.flat_values().elements(), rank = element / own, at = element % own;
    for (const Chunk& chunk : store_.chunks()) {
      const std::int64_t part = chunk.elements() / store_.residency().ranks;
      const std::int64_t first = chunk.begin / store_.residency().ranks;
      if (at >= first && at < first + part) element = chunk.begin + rank * part + at - first;
    }
  }
  const Parameter* found = nullptr;
  for (const Parameter& parameter : store_.parameters())
    if (parameter.offset <= element && (found == nullptr || found->offset < parameter.offset))
      found = &parameter;
  return found;
}

void StepGuard::resume_at(std::int64_t steps) {
  std::vector<std::int32_t> counters = counters_.to_host<std::int32_t>(context_);
  if (counters[kSteps] == steps) {
    dispatch_reference(loss_scale_.dtype(), [&]<class T>(TypeTag<T>) {
      set_loss_scale(static_cast<double>(loss_scale_.to_host<T>(context_)[0]));
    });
    return;
  }
  std::fill(counters.begin(), counters.end(), 0);
  counters[kSteps] = counters[kUpdates] = static_cast<std::int32_t>(steps);
  counters_.copy_from(context_, std::as_bytes(std::span(counters)));
  set_loss_scale(config_.loss_scale);
}

}  // namespace zeroth
