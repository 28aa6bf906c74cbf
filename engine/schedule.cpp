#include "engine/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace zeroth {

namespace {

/// From `begin` to `end` as share goes from 0 to 1.
double along_cosine(double begin, double end, double share) {
  return end + (begin - end) * 0.5 * (1.0 + std::cos(std::numbers::pi * share));
}

double along_line(double begin, double end, double share) {
  return begin + (end - begin) * share;
}

/// Up to 1 and down again: the step at which the top stands is the last one of the rise.
template <class Leg>
double up_and_down(const Schedule& schedule, double step, double steps, Leg leg) {
  const double top = schedule.rise * steps - 1.0;
  if (step <= top) return leg(schedule.start_factor, 1.0, step / std::max(top, 1e-9));
  return leg(1.0, schedule.end_factor, std::min(1.0, (step - top) / std::max(steps - 1.0 - top, 1e-9)));
}

}  // namespace

double Schedule::factor(std::int64_t step, std::int64_t steps_per_epoch) const {
  const double epoch = static_cast<double>(step) / static_cast<double>(steps_per_epoch);
  const double warmup_steps = warmup_epochs * static_cast<double>(steps_per_epoch);
  const double warmup =
      warmup_steps > 0 ? std::min(1.0, (static_cast<double>(step) + 1.0) / (warmup_steps + 1.0)) : 1.0;
  const double steps = epochs * static_cast<double>(steps_per_epoch);
  switch (kind) {
    case ScheduleKind::constant:
    case ScheduleKind::plateau:
      return warmup;
    case ScheduleKind::step: {
      const auto passed =
          std::count_if(milestones.begin(), milestones.end(), [&](double m) { return epoch >= m; });
      return warmup * std::pow(gamma, static_cast<double>(passed));
    }
    case ScheduleKind::exponential:
      return warmup * std::pow(gamma, std::floor(epoch));
    case ScheduleKind::one_cycle:
      return up_and_down(*this, static_cast<double>(step), steps, along_cosine);
    case ScheduleKind::triangular:
      return up_and_down(*this, static_cast<double>(step), steps, along_line);
    case ScheduleKind::cosine: {
      const double progress =
          std::clamp((epoch - warmup_epochs) / std::max(epochs - warmup_epochs, 1e-9), 0.0, 1.0);
      return warmup * 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
    }
  }
  return warmup;
}

}  // namespace zeroth
