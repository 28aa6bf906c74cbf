#include "engine/plateau.h"

#include <algorithm>

namespace zeroth {

namespace {

constexpr double kSmallestCut = 1e-8;

}  // namespace

bool PlateauState::after_epoch(const PlateauRule& rule, double rate, double accuracy) {
  if (!best || accuracy > *best * (1.0 + rule.threshold)) {
    best = accuracy;
    bad_epochs = 0;
  } else {
    ++bad_epochs;
  }
  if (cooldown_left > 0) {
    --cooldown_left;
    bad_epochs = 0;
  }
  if (bad_epochs <= rule.patience) return false;
  const double reduced = std::max(rule.factor * scale, rule.min_rate / rate);
  const bool cut = (scale - reduced) * rate >= kSmallestCut;
  if (cut) scale = reduced;
  cooldown_left = rule.cooldown;
  bad_epochs = 0;
  return cut;
}

void EarlyStopState::after_epoch(double accuracy) {
  if (!best || accuracy >= *best) {
    best = accuracy;
    epochs_below = 0;
  } else {
    ++epochs_below;
  }
}

}  // namespace zeroth
