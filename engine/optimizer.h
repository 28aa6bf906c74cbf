#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "engine/parameters.h"
#include "engine/step_guard.h"
#include "engine/step_inputs.h"

namespace zeroth {

enum class OptimizerKind : std::uint8_t { sgd, adam, adamw };

struct GroupRates {
  double learning_rate = 0.0, weight_decay = 0.0;
};

struct OptimizerConfig {
  OptimizerKind kind = OptimizerKind::sgd;
  double momentum = 0.9;                          // sgd
  bool nesterov = false;                          // sgd
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;  // adam, adamw
  StepGuardConfig guard = {};
};

/// Updates a network's flat value buffer from its flat gradient buffer: one kernel a step, behind a guard
/// that may skip it. Moments lie in flat buffers of the same layout. A step has two parts: begin_step()
/// writes what the host decides to device memory, and queue_update() queues the work that reads it. Only the
/// second part is captured.
class Optimizer {
 public:
  Optimizer(Context& context, ParameterStore& store, const OptimizerConfig& config);

  /// One entry for each ParameterGroup; takes effect from the next begin_step().
  void set_rates(const std::array<GroupRates, kParameterGroups>& rates);
  /// Counts a step and uploads its inputs().
  void begin_step();
  /// Queues the update of the step that was begun, unless the guard, whose begin_step() came before the
  /// forward pass, skips it.
  void queue_update();
  /// Where the store's values are offloaded: queue_update() leaves it at the guard's verdict, and this
  /// updates them on the CPU, whose moments lie beside them. Waits for the stream; never captured.
  void update_on_host();
  void step() {
    begin_step();
    queue_update();
    update_on_host();
  }
  /// Bytes that update_on_host() has copied from the device.
  std::int64_t bytes_to_host() const { return bytes_to_host_; }
  /// What begin_step() uploads. Whoever drives the steps may add values of its own.
  StepInputs& inputs() { return inputs_; }

  /// Steps in all, skipped ones included.
  std::int64_t steps_taken() const { return steps_taken_; }
  StepGuard& guard() { return guard_; }
  const StepGuard& guard() const { return guard_; }
  /// For resuming, after moments and the guard's tensors have been filled.
  void resume_at(std::int64_t steps);

  struct Moment {
    std::string name;  // "momentum"; "m", "v"
    Tensor value;      // laid out as the parameters are
  };
  const std::vector<Moment>& moments() const { return moments_; }

 private:
  Context& context_;
  ParameterStore& store_;
  OptimizerConfig config_;
  StepGuard guard_;
  std::vector<Moment> moments_;
  StepInputs inputs_;
  TensorView rates_;
  std::int64_t steps_taken_ = 0;

  FlatParams flat_params() const;
  void update(Context& context, FlatParameters parameters, ConstTensorView updates);

  /// What the CPU needs of the device's side to update offloaded values: copies in pinned memory.
  struct HostSide {
    Context context{Device{}};
    Tensor gradients, working_gradients, group_of_segment, factor, updates;
  };
  std::unique_ptr<HostSide> host_;  // where values are offloaded
  std::int64_t bytes_to_host_ = 0;
};

}  // namespace zeroth
