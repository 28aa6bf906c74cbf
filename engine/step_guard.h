#pragma once

#include <string>
#include <vector>

#include "engine/parallel/communicator.h"
#include "engine/parameters.h"
#include "kernels/step_guard/step_guard.h"

namespace zeroth {

struct StepGuardConfig {
  StepGuardParams params;   ///< `dtype` is the network's
  double loss_scale = 1.0;  ///< the first one, or the fixed one
};

/// What a guard tells the host.
struct StepReport {
  double gradient_norm = 0.0;  ///< of the last step whose gradients were finite, unscaled and before clipping
  double loss_scale = 1.0;     ///< of the next step
  std::int64_t skipped = 0;    ///< steps that changed nothing, since the training began
  bool stopped = false;        ///< the guard lets no step through any more
  std::int64_t stuck = 0;      ///< bad steps in a row at a loss scale that could not fall
  /// The first bad step since the last report, from 1 on, and the first parameter whose gradient was not
  /// finite then; 0 where all were good.
  std::int64_t first_bad_step = 0;
  std::string first_bad_parameter;
};

/// Stands between the gradients and the optimizer: keeps the loss scale, skips steps whose gradients are not
/// finite, clips. All of it is state in device memory, so a step waits for nothing. What a skipped step wrote
/// before it was known to be bad, running statistics and sums of losses, is restored.
class StepGuard {
 public:
  StepGuard(Context& context, ParameterStore& store, const StepGuardConfig& config);

  /// Each rank has a part of the gradients, and all come to one verdict. Before the first step.
  void judge_together(Communicator& communicator);
  /// f64 sums, such as of losses, in which skipped steps do not count.
  void watch_metrics(const Tensor& metrics);
  /// Before the forward pass: notes what a skipped step restores.
  void begin_step();
  /// After the backward pass, which began with seed(): decides about the step.
  void judge(const FlatParams& params, const FlatParameters& parameters);

  /// (1) in the dtype of losses: the gradient of the loss with which backward begins. It is the loss scale
  /// over the number of ranks, so that the gradients of all ranks add up to those of their common batch.
  const Tensor& seed() const { return seed_; }
  const Tensor& loss_scale() const { return loss_scale_; }
  /// What an optimizer multiplies gradients by after judge(): FlatParameters::gradient_factor.
  const Tensor& factor() const { return factor_; }
  /// (1) i32: steps that updated the weights, this one included after judge().
  Tensor updates() const { return counters_.slice(kUpdates, 1); }

  /// Waits for the stream.
  StepReport take_report();

  /// What a checkpoint holds of it.
  const Tensor& counters() const { return counters_; }
  /// After those tensors have been filled, or not, because the checkpoint is older than they are: then all
  /// `steps` steps count as updates.
  void resume_at(std::int64_t steps);

 private:
  void set_loss_scale(double value);
  const Parameter* parameter_of_segment(std::int64_t segment) const;

  Context& context_;
  ParameterStore& store_;
  StepGuardConfig config_;
  Communicator* communicator_ = nullptr;
  Tensor sum_of_squares_, bad_segment_;
  Tensor all_sums_, all_bad_segments_;  // of every rank, where they judge together
  Tensor loss_scale_, seed_, factor_, counters_, report_;
  Tensor state_before_, metrics_, metrics_before_;
};

}  // namespace zeroth
