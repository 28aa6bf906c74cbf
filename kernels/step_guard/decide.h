#pragma once

// The decision itself, a few numbers a step, which host and device share.

#include <cmath>

#include "kernels/core/host_device.h"
#include "kernels/gradient_norm/gradient_norm.h"
#include "kernels/step_guard/step_guard.h"

namespace zeroth {

/// What the parts of the gradients come to together.
struct JudgedGradients {
  double sum_of_squares;
  std::int32_t bad_segment;
};

ZEROTH_HD inline JudgedGradients join_parts(const StepGuardParams& params, const double* sums,
                                            const std::int32_t* bad_segments, std::int64_t parts) {
  JudgedGradients all{0.0, kNoSegment};
  for (std::int64_t part = 0; part < parts; ++part) {
    all.sum_of_squares += sums[part];
    if (all.bad_segment == kNoSegment && bad_segments[part] != kNoSegment)
      all.bad_segment = static_cast<std::int32_t>(part) * params.part_segments + bad_segments[part];
  }
  return all;
}

/// Moves the scale, the counters and the report, and returns the factor: kSkipStep, or at least 0.
ZEROTH_HD inline double decide_step(const StepGuardParams& params, double sum_of_squares,
                                    std::int32_t bad_segment, double& loss_scale, std::int32_t* counters,
                                    double* report) {
  const std::int32_t step = ++counters[kSteps];
  if (counters[kStopped] != 0) return kSkipStep;
  const double scale = loss_scale;
  if (bad_segment == kNoSegment) {
    const double norm = sqrt(sum_of_squares) / scale;
    report[kGradientNorm] = norm;
    ++counters[kUpdates];
    counters[kStuckSteps] = 0;
    if (params.dynamic && ++counters[kCleanSteps] >= params.growth_interval) {
      counters[kCleanSteps] = counters[kBadSteps] = 0;
      if (scale * params.growth <= params.maximum) loss_scale = scale * params.growth;
    }
    const double clip = params.max_norm > 0.0 ? params.max_norm / (norm + 1e-6) : 1.0;
    return (clip < 1.0 ? clip : 1.0) / scale;
  }
  ++counters[kSkipped];
  counters[kCleanSteps] = 0;
  if (report[kFirstBadStep] == 0.0) {
    report[kFirstBadStep] = step;
    report[kFirstBadSegment] = bad_segment;
  }
  const bool falls = params.dynamic && scale > params.minimum;
  counters[kStuckSteps] = falls ? 0 : counters[kStuckSteps] + 1;
  if (++counters[kBadSteps] >= params.hysteresis && falls) {
    const double lower = scale * params.backoff;
    loss_scale = lower < params.minimum ? params.minimum : lower;
  }
  if ((params.stop && !params.dynamic) || counters[kStuckSteps] >= params.patience) counters[kStopped] = 1;
  return kSkipStep;
}

}  // namespace zeroth
