#pragma once

#include <span>

#include "kernels/core/operation_table.h"

namespace zeroth {

/// Decides on the device, between backward and the optimizer, whether this step updates the weights, and by
/// what its gradients are multiplied; and moves the loss scale. With norm = sqrt(sum_of_squares) /
/// loss_scale, the norm of the true gradients:
///   finite:  factor = min(1, max_norm / (norm + 1e-6)) / loss_scale        (torch.nn.utils.clip_grad_norm_)
///   otherwise:  factor = kSkipStep, and what the step has written besides, `state` and `metrics`, is
///   restored
/// The scale of a `dynamic` one doubles (times growth) after growth_interval finite steps in a row, up to
/// `maximum`, and halves (times backoff) at every bad step from the `hysteresis`-th on, down to `minimum`,
/// counted since those finite steps: ColossalAI's DynamicGradScaler; with hysteresis 1
/// torch.cuda.amp.GradScaler's update (_amp_update_scale_). The factor belongs to the scale that the
/// gradients were computed with. The run is stopped, and every later step skipped, by a bad step where `stop`
/// is set and the scale is fixed; and by `patience` bad steps in a row at a scale that cannot fall (a fixed
/// or the smallest one).
struct StepGuardParams {
  DType dtype = DType::f32;  ///< of loss_scale, factor and state: f32 or f64
  bool dynamic = false;
  double growth = 2.0, backoff = 0.5, minimum = 0x1p-14, maximum = 0x1p24;
  std::int32_t growth_interval = 2000, hysteresis = 1;
  double max_norm = 0.0;  ///< 0: no clipping
  bool stop = true;
  std::int32_t patience = 50;
  /// Ranks whose gradients add up to those of their common batch: backward begins with scale / ranks.
  std::int32_t ranks = 1;
  /// Where ranks have judged a part of the gradients each: segments of a part.
  std::int32_t part_segments = 0;
  std::string to_string() const;
};

/// In `factor`: leave weights and moments as they are. Any negative factor does.
inline constexpr double kSkipStep = -1.0;

/// `counters`: begin as zeros, and move at every step.
enum StepCounter : int {
  kUpdates,      ///< steps that updated the weights: Adam's t
  kSteps,        ///< all steps
  kSkipped,      ///< of those, bad ones
  kCleanSteps,   ///< finite steps in a row since a dynamic scale moved
  kBadSteps,     ///< bad steps since the last growth_interval finite steps in a row
  kStuckSteps,   ///< bad steps in a row at a scale that could not fall
  kStopped,      ///< 1: the run is over
  kStepCounters  ///< how many there are
};

/// `report`: what a host reads now and then, and sets to zeros then.
enum StepReportField : int {
  kGradientNorm,     ///< of the last finite step, before clipping
  kFirstBadStep,     ///< since the last zeros; steps count from 1, 0: none
  kFirstBadSegment,  ///< of that step's gradients: element / kParameterSegment, part by part
  kStepReportFields  ///< how many there are
};

struct StepGuardOperands {
  ConstTensorView
      sum_of_squares;  ///< (parts) f64, of scaled gradients; gradient_norm's; they are added in order
  ConstTensorView bad_segment;  ///< (parts) i32, gradient_norm's, each counting from the part's beginning
  TensorView loss_scale;        ///< (1), above 0
  TensorView factor;            ///< (1), written
  TensorView counters;          ///< (kStepCounters) i32
  TensorView report;            ///< (kStepReportFields) f64
  // What a skipped step restores, and its values before the step; of any length, or absent.
  TensorView state = {};  ///< params.dtype: running statistics
  ConstTensorView state_before = {};
  TensorView metrics = {};  ///< f64: sums of losses
  ConstTensorView metrics_before = {};
  TensorView seed =
      {};  ///< (1), written: the gradient of the loss with which the next backward begins; or absent
};

struct StepGuardRow : Row {
  bool (*supports)(const StepGuardParams&);
  void (*forward)(Context&, const StepGuardParams&, const StepGuardOperands&);
};

/// Every implementation, in order of preference.
std::span<const StepGuardRow> step_guard_rows();

namespace reference {
extern const StepGuardRow step_guard_row;
}
namespace simt_native {
extern const StepGuardRow step_guard_row;
}
namespace cuda_native {
extern const StepGuardRow step_guard_row;
}

void step_guard_forward(Context& context, const StepGuardParams& params, const StepGuardOperands& operands);

}  // namespace zeroth
