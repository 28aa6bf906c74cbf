#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/run_log.h"

namespace zeroth {

/// What the log of a run holds, in the order in which it was written.
struct RunRecords {
  std::vector<StepRecord> steps;
  std::vector<EpochRecord> epochs;
  std::string data;  ///< what the run was trained on: "cifar10", "generated"

  /// Whether some epoch was evaluated on pictures held out from training, and not on the test set.
  bool validated() const;
};

/// Reads log.jsonl and summary.csv as RunLog writes them, of a living run, too: a last line that has no end
/// yet is left out. What was not finite is NaN. Throws Error(data), one line that names the file, where one
/// of them is missing or has a line that cannot be, and where there is no record at all.
RunRecords read_run_log(const std::filesystem::path& folder);

}  // namespace zeroth
