#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace zeroth::app {

/// A checkpoint that was read as a whole and is intact.
struct FoundCheckpoint {
  std::filesystem::path path;
  std::string notice;  ///< a line for people: which damaged one it stands in for, and why; or empty
};

/// The checkpoint that --resume means. PATH is a checkpoint, taken as it is, or a run folder: its last
/// checkpoint or, where that is damaged or missing, the newest intact one beside it. "auto" is the run folder
/// `out`, else the run under runs/ that was written to last. Nothing where "auto" finds no run. Throws
/// Error(data) where PATH has no checkpoint, and where a run folder has none that is intact.
std::optional<FoundCheckpoint> find_resume_checkpoint(const std::string& resume, const std::string& out);

/// The path of the checkpoint that RUN|CHECKPOINT means to commands that read one: a file itself; of a run
/// folder the best one by validation where the run had a validation split, else the last one; where that is
/// damaged, the newest intact one, and says so. Throws Error(data).
std::string find_whole_checkpoint(const std::string& run_or_checkpoint);

}  // namespace zeroth::app
