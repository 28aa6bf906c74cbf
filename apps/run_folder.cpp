#include "apps/run_folder.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <ctime>
#include <vector>

#include "apps/resolve.h"
#include "engine/atomic_file.h"
#include "kernels/core/error.h"

namespace zeroth::app {
namespace fs = std::filesystem;

namespace {

constexpr const char* kRuns = "runs";
constexpr const char* kFormat = "zeroth checkpoint 1";
constexpr const char* kEpochPrefix = "epoch-";

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

std::optional<fs::path> newest_run() {
  std::optional<fs::path> newest;
  fs::file_time_type time{};
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(kRuns, error)) {
    const fs::path last = RunFolder(entry.path()).last();
    std::error_code unreadable;
    const fs::file_time_type here = fs::last_write_time(last, unreadable);
    if (!unreadable && (!newest || here > time)) {
      newest = last;
      time = here;
    }
  }
  return newest;
}

/// Checkpoint metadata are text; each of these refuses what is not entirely of its kind.
class Fields {
 public:
  explicit Fields(const SafetensorsFile& file) : file_(file) {}

  const std::string& text(const char* key) const {
    const auto found = file_.metadata().find(key);
    if (found == file_.metadata().end()) refuse(fmt::format("it has no '{}'", key));
    return found->second;
  }
  template <class Number>
  Number number(const char* key) const {
    const std::string& value = text(key);
    Number result{};
    const char* end = value.data() + value.size();
    const auto [rest, status] = std::from_chars(value.data(), end, result);
    if (status != std::errc() || rest != end) refuse(fmt::format("its '{}' is '{}'", key, value));
    return result;
  }
  [[noreturn]] void refuse(const std::string& reason) const {
    fail(ErrorKind::data, fmt::format("{} is no checkpoint of zeroth: {}", file_.path().string(), reason));
  }

 private:
  const SafetensorsFile& file_;
};

}  // namespace

fs::path RunFolder::of_epoch(std::int64_t epoch) const {
  return checkpoints() / fmt::format("{}{:05}.safetensors", kEpochPrefix, epoch);
}

void RunFolder::create(const std::string& config_text) const {
  std::error_code error;
  fs::create_directories(checkpoints(), error);
  if (error)
    fail(ErrorKind::runtime,
         fmt::format("cannot make the run folder {}: {}", path_.string(), error.message()));
  replace_file(config(), config_text);
}

void RunFolder::prune(std::int64_t keep) const {
  if (keep == 0) return;
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(checkpoints())) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(kEpochPrefix) && name.ends_with(".safetensors")) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  const std::size_t surplus = files.size() - std::min(files.size(), static_cast<std::size_t>(keep));
  for (std::size_t i = 0; i < surplus; ++i) {
    std::error_code ignored;  // a checkpoint that cannot be removed harms nobody
    fs::remove(files[i], ignored);
  }
}

void RunFolder::forget_best_after(std::int64_t step) const {
  if (!is_there(best()) || checkpoint_info(SafetensorsFile(best())).step <= step) return;
  std::error_code error;
  fs::remove(best(), error);
  if (error) fail(ErrorKind::runtime, fmt::format("cannot remove {}: {}", best().string(), error.message()));
}

RunFolder new_run_folder(const std::string& out, const std::string& model) {
  if (!out.empty()) {
    std::error_code error;
    if (is_there(RunFolder(out).config()) || is_there(RunFolder(out).last()))
      fail(ErrorKind::usage,
           fmt::format("--out {} holds a run; go on with it by --resume {}, or choose another folder", out,
                       out));
    if (is_there(out) && !(fs::is_directory(out, error) && fs::is_empty(out, error)))
      fail(ErrorKind::usage, fmt::format("--out {} exists and is no empty folder", out));
    return RunFolder(out);
  }
  const std::string name =
      fmt::format("{}/{}-{:%Y%m%d-%H%M%S}", kRuns, model, fmt::localtime(std::time(nullptr)));
  fs::path path = name;
  for (int number = 2; is_there(path); ++number) path = fmt::format("{}-{}", name, number);
  return RunFolder(path);
}

std::optional<fs::path> find_resume_checkpoint(const std::string& resume, const std::string& out) {
  if (resume == "auto") {
    if (out.empty()) return newest_run();
    return is_there(RunFolder(out).last()) ? std::optional(RunFolder(out).last()) : std::nullopt;
  }
  std::error_code error;
  if (!fs::is_directory(resume, error)) return fs::path(resume);
  if (!is_there(RunFolder(resume).last()))
    fail(ErrorKind::data,
         fmt::format("no checkpoint in {}: expected {}", resume, RunFolder(resume).last().string()));
  return RunFolder(resume).last();
}

std::optional<RunFolder> run_folder_of(const fs::path& checkpoint) {
  const fs::path folder = fs::absolute(checkpoint).parent_path();
  if (folder.filename() != "checkpoints" || !is_there(RunFolder(folder.parent_path()).config()))
    return std::nullopt;
  // A path as the user gave it reads better in messages than an absolute one.
  const fs::path given = checkpoint.parent_path().parent_path();
  return RunFolder(given.empty() ? folder.parent_path() : given);
}

fs::path find_checkpoint(const std::string& run_or_checkpoint) {
  std::error_code error;
  if (!fs::is_directory(run_or_checkpoint, error)) return run_or_checkpoint;
  const RunFolder run(run_or_checkpoint);
  if (is_there(run.best()) &&
      trained_options(checkpoint_info(SafetensorsFile(run.best())).config).val_split > 0)
    return run.best();
  if (!is_there(run.last()))
    fail(ErrorKind::data,
         fmt::format("no checkpoint in {}: expected {}", run_or_checkpoint, run.last().string()));
  return run.last();
}

SafetensorsMetadata CheckpointInfo::metadata() const {
  SafetensorsMetadata all{{"format", kFormat},
                          {"step", std::to_string(step)},
                          {"config", config},
                          {"data", data},
                          {"data_hash", std::to_string(data_hash)},
                          {"classes", std::to_string(classes)},
                          {"height", std::to_string(height)},
                          {"width", std::to_string(width)},
                          {"channels", std::to_string(channels)},
                          {"epoch_loss", fmt::format("{}", epoch_loss)},
                          {"epoch_correct", std::to_string(epoch_correct)},
                          {"epoch_rows", std::to_string(epoch_rows)}};
  if (best_accuracy) all["best_accuracy"] = fmt::format("{}", *best_accuracy);
  return all;
}

CheckpointInfo checkpoint_info(const SafetensorsFile& file) {
  const Fields fields(file);
  if (fields.text("format") != kFormat)
    fields.refuse(fmt::format("its format is '{}'", fields.text("format")));
  CheckpointInfo info;
  info.step = fields.number<std::int64_t>("step");
  info.config = fields.text("config");
  info.data = fields.text("data");
  info.data_hash = fields.number<std::uint64_t>("data_hash");
  info.classes = fields.number<std::int64_t>("classes");
  info.height = fields.number<std::int64_t>("height");
  info.width = fields.number<std::int64_t>("width");
  info.channels = fields.number<std::int64_t>("channels");
  info.epoch_loss = fields.number<double>("epoch_loss");
  info.epoch_correct = fields.number<std::int64_t>("epoch_correct");
  info.epoch_rows = fields.number<std::int64_t>("epoch_rows");
  if (file.metadata().contains("best_accuracy")) info.best_accuracy = fields.number<double>("best_accuracy");
  if (info.step < 0 || info.classes < 1 || info.height < 1 || info.width < 1 || info.channels < 1)
    fields.refuse("its numbers make no sense");
  return info;
}

}  // namespace zeroth::app
