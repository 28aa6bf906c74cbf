#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/options.h"
#include "apps/run_folder.h"
#include "engine/read_run_log.h"

namespace zeroth::app {

/// A run after the fact: what its folder says of how it went.
struct RunHistory {
  std::string name;  ///< what tells it from the others: its folder's own name, or the path as it was given
  RunFolder folder;
  TrainOptions options;
  RunRecords records;

  /// "name", or "name (generated)": no output passes generated pictures off as real ones.
  std::string marked_name() const;
};

/// Reads the runs that lie in these folders. Throws Error(data), one line that names the folder or file,
/// where one is no run folder or has no record.
std::vector<RunHistory> read_histories(const std::vector<std::string>& folders);

/// What an epoch's weights scored on pictures they were not trained on: of the validation split where the run
/// had one, else of the test set. Null where neither was evaluated.
const SetResult* held_out(const EpochRecord& record);

/// The record with the least held-out error, the first of several; null where none has any.
const EpochRecord* best_epoch(const std::vector<EpochRecord>& epochs);

/// The first epoch with a training error of at most `error`.
std::optional<std::int64_t> epochs_to_train_error(const std::vector<EpochRecord>& epochs, double error);

/// Training and evaluation of all epochs, in seconds.
double total_seconds(const std::vector<EpochRecord>& epochs);
/// Training alone, over all epochs; NaN where none was timed.
double mean_images_per_second(const std::vector<EpochRecord>& epochs);

}  // namespace zeroth::app
