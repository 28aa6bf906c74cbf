#include "kernels/core/plan_choice.h"

#include <algorithm>
#include <vector>

namespace zeroth {

namespace {

/// The median of some runs; nothing where one failed. A first run that is hopelessly slow is the only one.
std::optional<double> median_time(std::size_t index, const CandidateTrial& trial, int runs,
                                  std::optional<double> best) {
  std::vector<double> seconds;
  for (int i = 0; i < runs; ++i) {
    const std::optional<double> time = trial.run(index);
    if (!time) return std::nullopt;
    seconds.push_back(*time);
    if (i == 0 && best && *time > 4.0 * *best) break;
  }
  const auto middle = seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2);
  std::nth_element(seconds.begin(), middle, seconds.end());
  return *middle;
}

}  // namespace

std::optional<std::size_t> fastest_candidate(std::size_t count, const CandidateTrial& trial,
                                             const TimingLimits& limits) {
  const double begin = trial.now();
  std::optional<std::size_t> fastest;
  std::optional<double> best;
  std::size_t prepared = 0;
  for (std::size_t i = 0; i < count && prepared < limits.candidates; ++i) {
    if (fastest && trial.now() - begin > limits.seconds) break;
    if (!trial.prepare(i)) continue;
    ++prepared;
    const std::optional<double> time = median_time(i, trial, limits.runs, best);
    if (!time || (best && *time >= (1.0 - limits.gain) * *best)) continue;
    best = time;
    fastest = i;
  }
  return fastest;
}

}  // namespace zeroth
