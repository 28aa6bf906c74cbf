#pragma once

#include <cstdint>
#include <vector>

namespace zeroth {

enum class ScheduleKind : std::uint8_t { constant, step, cosine };

/// The factor by which every group's learning rate is multiplied. Positions are in epochs, fractions
/// included, so a schedule depends on neither batch size nor --max-steps.
struct Schedule {
  ScheduleKind kind = ScheduleKind::constant;
  std::vector<double> milestones;  // step: epochs after which the rate is multiplied by gamma
  double gamma = 0.1;
  double warmup_epochs = 0.0;  // the factor rises linearly from its first step's share to 1
  double epochs = 1.0;         // cosine: where the factor reaches 0

  /// The factor for the step that starts after `step` of `steps_per_epoch` steps an epoch. Cosine: Loshchilov
  /// and Hutter, "SGDR", 2017, without restarts, counted from the end of the warm-up.
  double factor(std::int64_t step, std::int64_t steps_per_epoch) const;
};

}  // namespace zeroth
