#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "engine/safetensors.h"

namespace zeroth::app {

/// Where a training keeps what it makes.
class RunFolder {
 public:
  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path config() const { return path_ / "config.toml"; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  std::filesystem::path last() const { return checkpoints() / "last.safetensors"; }
  std::filesystem::path best() const { return checkpoints() / "best.safetensors"; }
  std::filesystem::path of_epoch(std::int64_t epoch) const;  // epoch-00010.safetensors

  /// Makes the folders and config.toml. Throws Error(runtime) when they cannot be written.
  void create(const std::string& config_text) const;
  /// Removes all epoch checkpoints but the newest `keep`; 0 keeps all.
  void prune(std::int64_t keep) const;
  /// Removes a best checkpoint of a step beyond `step`: a run resumed before it has not got there.
  void forget_best_after(std::int64_t step) const;

 private:
  std::filesystem::path path_;
};

/// The folder for a new run: `out`, or runs/MODEL-DATE-TIME where that is empty. Throws Error(usage) when
/// there is something already.
RunFolder new_run_folder(const std::string& out, const std::string& model);

/// The checkpoint that --resume means: PATH is a checkpoint or a run folder (its last checkpoint); "auto" is
/// the run folder `out`, else the newest one under runs/. Nothing where "auto" finds no checkpoint. Throws
/// Error(data) where PATH has none.
std::optional<std::filesystem::path> find_resume_checkpoint(const std::string& resume,
                                                            const std::string& out);

/// The run folder a checkpoint lies in, or nothing where it lies elsewhere.
std::optional<RunFolder> run_folder_of(const std::filesystem::path& checkpoint);

/// The checkpoint that RUN|CHECKPOINT means to `eval`: a file itself; of a run folder, the best one by
/// validation where the run had a validation split, else the last one. Throws Error(data).
std::filesystem::path find_checkpoint(const std::string& run_or_checkpoint);

/// What a checkpoint says of its training, besides the tensors.
struct CheckpointInfo {
  std::int64_t step = 0;
  std::string config;  ///< as checkpoint_config() writes it
  std::string data;    ///< name of the data set
  std::uint64_t data_hash = 0;
  std::int64_t classes = 0;
  std::int64_t height = 0, width = 0, channels = 0;  ///< of a picture
  std::optional<double> best_accuracy;
  double epoch_loss = 0.0;  ///< sums over the pictures of the epoch under way
  std::int64_t epoch_correct = 0, epoch_rows = 0;

  SafetensorsMetadata metadata() const;
};

/// Throws Error(data) naming the file where it is no checkpoint of this program.
CheckpointInfo checkpoint_info(const SafetensorsFile& file);

}  // namespace zeroth::app
