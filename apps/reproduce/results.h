#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "apps/options.h"

namespace zeroth::app {

/// What a run's summary.csv says of an epoch; fractions, not percent.
struct EpochResult {
  double train_loss = 0.0, train_error = 0.0;
  std::optional<double> held_out_loss, held_out_error;  ///< validation, or test where nothing is held out
};

/// A run that has ended.
struct RunResult {
  std::int64_t seed = 0;
  bool diverged = false;  ///< then there is no test error
  double test_error = 0.0;
  std::optional<double> validation_error;  ///< the best epoch's, where pictures were held out
  double seconds = 0.0;                    ///< in epochs, evaluation included
  std::string data;                        ///< "cifar10", "generated"
  std::vector<EpochResult> epochs;
};

/// Files of one run of a reproduction: FOLDER/KEY-seedN, a run folder, and beside it .toml, its
/// configuration, and .json, its result once it has ended.
struct RunFiles {
  RunFiles(const std::filesystem::path& folder, const std::string& key, std::int64_t seed);
  std::filesystem::path run, config, result;
};

/// Notes that a run has ended. `output` is what `zeroth train --json` printed; a run that diverged may print
/// nothing. Throws Error(data) for an output that is not a result.
void write_result(const RunFiles& files, const TrainOptions& options, const std::string& output,
                  bool may_diverge);

/// The result of a run, or nothing where it has not ended. Throws Error(data) for a damaged file, and
/// Error(usage) where it was trained with other settings than `options`, naming one.
std::optional<RunResult> read_result(const RunFiles& files, const TrainOptions& options);

}  // namespace zeroth::app
