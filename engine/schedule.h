#pragma once

#include <cstdint>
#include <vector>

namespace zeroth {

/// The courses a learning rate can take. `plateau` is constant here: what PlateauState decides comes on top.
enum class ScheduleKind : std::uint8_t {
  constant,
  step,
  exponential,
  cosine,
  one_cycle,
  triangular,
  plateau
};

/// The factor by which every group's learning rate is multiplied. Positions are in epochs, fractions
/// included, so a schedule depends on neither batch size nor --max-steps.
struct Schedule {
  ScheduleKind kind = ScheduleKind::constant;
  std::vector<double> milestones;  // step: epochs after which the rate is multiplied by gamma
  double gamma = 0.1;              // step: see milestones; exponential: factor after every epoch
  double warmup_epochs = 0.0;      // the factor rises linearly from its first step's share to 1
  double epochs = 1.0;             // of the whole course: cosine, one_cycle, triangular
  // one_cycle, triangular: the share of the steps in which the factor rises to 1; where it begins, where it
  // ends
  double rise = 0.3, start_factor = 0.04, end_factor = 4e-6;

  /// The factor for the step that starts after `step` of `steps_per_epoch` steps an epoch.
  ///   cosine      Loshchilov and Hutter, "SGDR", 2017, without restarts, counted from the end of the warm-up
  ///   one_cycle   Smith and Topin, "Super-Convergence", 2018, up and down along half a cosine each: the
  ///   steps
  ///               and defaults of PyTorch's OneCycleLR. It rises by itself: there is no other warm-up
  ///   triangular  the same along straight lines
  double factor(std::int64_t step, std::int64_t steps_per_epoch) const;
};

}  // namespace zeroth
