#pragma once

#include <string>

#include "engine/parameters.h"
#include "engine/step_guard.h"
#include "engine/step_inputs.h"

namespace zeroth {

/// Before the names of averages in a checkpoint: ema.conv1.weight.
inline constexpr const char *kEmaName = "ema.", *kLookaheadName = "lookahead.";

/// What follows the weights, in one kernel a buffer behind the optimizer's.
struct AverageConfig {
  const char* name = "";   ///< before the names of its tensors in a checkpoint
  std::int64_t every = 1;  ///< updates of the weights to one step of the average
  bool warm_up = false;    ///< moving_average.h
  bool write_back = false;
};

/// A moving average of a network's parameters and of its state (running statistics), beginning with those
/// there are. Updates that the guard skips do not count.
class WeightAverage {
 public:
  /// The share that a step takes of the weights is one of the optimizer's `inputs`.
  WeightAverage(Context& context, ParameterStore& store, StepInputs& inputs, const AverageConfig& config);

  /// Begins again with the weights as they are.
  void restart();
  /// Takes effect with the next upload of the inputs, those of the constructor.
  void set_share(StepInputs& inputs, double share);
  /// Queues the average's step, after the optimizer's update.
  void queue(const StepGuard& guard);

  const char* name() const { return config_.name; }
  /// Laid out as the store's buffers are.
  const Tensor& values() const { return values_; }
  const Tensor& state() const { return state_; }

  /// The network has the averages for its weights and state for as long as this lives; then it has its own
  /// again, with the same bits.
  class InPlace {
   public:
    explicit InPlace(const WeightAverage& average);
    ~InPlace();
    InPlace(const InPlace&) = delete;
    InPlace& operator=(const InPlace&) = delete;

   private:
    const WeightAverage& average_;
    Tensor values_, state_, working_values_;
  };

 private:
  Context& context_;
  ParameterStore& store_;
  AverageConfig config_;
  Tensor values_, state_;
  TensorView share_;
};

}  // namespace zeroth
