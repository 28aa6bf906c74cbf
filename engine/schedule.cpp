#include "engine/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace zeroth {

double Schedule::factor(std::int64_t step, std::int64_t steps_per_epoch) const {
  const double epoch = static_cast<double>(step) / static_cast<double>(steps_per_epoch);
  const double warmup_steps = warmup_epochs * static_cast<double>(steps_per_epoch);
  const double warmup =
      warmup_steps > 0 ? std::min(1.0, (static_cast<double>(step) + 1.0) / (warmup_steps + 1.0)) : 1.0;
  switch (kind) {
    case ScheduleKind::constant:
      return warmup;
    case ScheduleKind::step: {
      const auto passed =
          std::count_if(milestones.begin(), milestones.end(), [&](double m) { return epoch >= m; });
      return warmup * std::pow(gamma, static_cast<double>(passed));
    }
    case ScheduleKind::cosine: {
      const double progress =
          std::clamp((epoch - warmup_epochs) / std::max(epochs - warmup_epochs, 1e-9), 0.0, 1.0);
      return warmup * 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
    }
  }
  return warmup;
}

}  // namespace zeroth
