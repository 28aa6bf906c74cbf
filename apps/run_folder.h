#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace zeroth::app {

/// Where a training keeps what it makes.
class RunFolder {
 public:
  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path config() const { return path_ / "config.toml"; }
  std::filesystem::path plans() const { return path_ / "plans.json"; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  std::filesystem::path last() const { return checkpoints() / "last.safetensors"; }
  std::filesystem::path best() const { return checkpoints() / "best.safetensors"; }
  std::filesystem::path of_epoch(std::int64_t epoch) const;  // epoch-00010.safetensors

  /// Makes the folder and the one for checkpoints. Throws Error(runtime) when they cannot be written.
  void create() const;
  /// There is nothing here, or what a run leaves that ended before its first checkpoint: nothing is lost.
  bool is_free() const;
  /// The epochs of which there are checkpoints, in rising order.
  std::vector<std::int64_t> epochs() const;
  /// Removes all epoch checkpoints but those of the last `keep` epochs; 0 keeps all.
  void prune(std::int64_t keep) const;
  /// For a run that is to go on from an earlier step: where there are checkpoints of later ones, keeps the
  /// run as it is in a run folder of its own, abandoned-N in this one, and moves the later epochs'
  /// checkpoints there. Nothing where there are none. Throws Error(runtime).
  std::optional<RunFolder> set_aside_after(std::int64_t step, std::int64_t epochs_done) const;

  /// The step of a checkpoint; nothing where the file cannot be read as one.
  static std::optional<std::int64_t> step_of(const std::filesystem::path& checkpoint);

 private:
  std::filesystem::path path_;
};

/// Throws Error(usage) where the folder that --out names for a new run holds something.
void check_free(const RunFolder& folder);

/// Where runs without --out go.
inline constexpr const char* kRuns = "runs";

/// Makes a folder of its own for a new run without --out: runs/MODEL-DATE-TIME. Throws Error(runtime).
RunFolder make_run_folder(const std::string& model);

/// The run folder a checkpoint lies in, or nothing where it lies elsewhere.
std::optional<RunFolder> run_folder_of(const std::filesystem::path& checkpoint);

}  // namespace zeroth::app
