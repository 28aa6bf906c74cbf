#pragma once

#include <cstdint>
#include <optional>

namespace zeroth {

/// Cuts the learning rate where accuracy has stopped rising, judged after every epoch. An accuracy above
/// best * (1 + threshold) is the new best; every other epoch counts as bad. More than `patience` bad epochs
/// multiply the rate by `factor`, but leave it at least `min_rate`; then, and while `cooldown` epochs pass,
/// bad ones are not counted. (As ReZero-ResNet's training does, https://github.com/fabio-deep/ReZero-ResNet,
/// and PyTorch's ReduceLROnPlateau.)
struct PlateauRule {
  double threshold = 1e-4, factor = 0.1, min_rate = 1e-6;
  std::int64_t patience = 30, cooldown = 20;
};

/// What the rule remembers from epoch to epoch: part of a checkpoint.
struct PlateauState {
  std::optional<double> best;
  std::int64_t bad_epochs = 0, cooldown_left = 0;
  double scale = 1.0;  ///< of all learning rates so far

  /// Takes the accuracy of one more epoch, in [0, 1]. `rate`: the learning rate at scale 1. Returns whether
  /// the rate was cut; a cut of less than 1e-8 is none.
  bool after_epoch(const PlateauRule& rule, double rate, double accuracy);
};

/// Counts the epochs since accuracy was last at its best: part of a checkpoint.
struct EarlyStopState {
  std::optional<double> best;
  std::int64_t epochs_below = 0;  ///< an epoch as good as the best sets it to 0

  /// Takes the accuracy of one more epoch, in [0, 1].
  void after_epoch(double accuracy);
};

}  // namespace zeroth
