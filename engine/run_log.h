#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace zeroth {

/// A line of log.jsonl: what happened since the line before it.
struct StepRecord {
  std::int64_t step = 0;           ///< optimizer steps taken in all
  double epoch = 0.0;              ///< epochs done, fractions included
  double loss = 0.0, error = 0.0;  ///< means over the training pictures since the last line; error in [0, 1]
  double learning_rate = 0.0;      ///< of the last step
  double images_per_second = 0.0;  ///< since the last line
  std::optional<double> of_ceiling;           ///< share of the device's measured matrix rate, in [0, ...)
  std::optional<double> gradient_norm;        ///< of the last step with finite gradients, before clipping
  std::optional<double> loss_scale;           ///< of the next step
  std::optional<std::int64_t> skipped_steps;  ///< in all
  /// Every alpha by its name, at the end of an epoch and of a run; else empty.
  std::vector<std::pair<std::string, double>> alphas;
};

/// Loss and error over a whole set of pictures.
struct SetResult {
  double loss = 0.0, error = 0.0;  ///< error in [0, 1]
};

/// A row of summary.csv.
struct EpochRecord {
  std::int64_t epoch = 0;  ///< epochs done
  std::int64_t step = 0;
  double learning_rate = 0.0;  ///< of the epoch's last step
  SetResult train;             ///< running means while the weights moved
  std::optional<SetResult> validation, test;
  double images_per_second = 0.0;                   ///< training only
  double seconds = 0.0;                             ///< training and evaluation
  std::optional<double> gradient_norm, loss_scale;  ///< as in StepRecord, at the epoch's end
  std::optional<std::int64_t> skipped_steps;
};

/// log.jsonl and summary.csv of a run folder. Each record is written out at once, as one whole line, so a
/// reader of a living run sees whole lines, and a run that dies loses none. A quantity that is not finite is
/// null in the one and empty in the other.
class RunLog {
 public:
  /// Opens the log of a run. `data` names the data set and stands in every record ("generated" too). Records
  /// of steps after `steps_taken` are cut, as is a line that a crash left unfinished: 0 begins anew. Throws
  /// Error(runtime) when the folder cannot be written, Error(data) when an old record cannot be read.
  RunLog(const std::filesystem::path& folder, std::string data, std::int64_t steps_taken);

  /// Append. Throw Error(runtime), naming the file, when the disk is full.
  void write(const StepRecord& record);
  void write(const EpochRecord& record);

 private:
  std::filesystem::path steps_path_, epochs_path_;
  std::string data_;
};

}  // namespace zeroth
