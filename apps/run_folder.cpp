#include "apps/run_folder.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <ctime>
#include <vector>

#include "apps/checkpoint_info.h"
#include "apps/run_lock.h"
#include "engine/event_log.h"
#include "kernels/core/error.h"

namespace zeroth::app {
namespace fs = std::filesystem;

namespace {

constexpr const char* kEpochPrefix = "epoch-";

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

}  // namespace

fs::path RunFolder::of_epoch(std::int64_t epoch) const {
  return checkpoints() / fmt::format("{}{:05}.safetensors", kEpochPrefix, epoch);
}

void RunFolder::create() const {
  std::error_code error;
  fs::create_directories(checkpoints(), error);
  if (error)
    fail(ErrorKind::runtime,
         fmt::format("cannot make the run folder {}: {}", path_.string(), error.message()));
}

std::vector<std::int64_t> RunFolder::epochs() const {
  std::vector<std::int64_t> all;
  std::error_code error;
  for (fs::directory_iterator entry(checkpoints(), error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    std::int64_t epoch = 0;
    const char* digits = name.data() + std::min(name.size(), std::strlen(kEpochPrefix));
    std::from_chars(digits, name.data() + name.size(), epoch);
    if (entry->path() == of_epoch(epoch)) all.push_back(epoch);
  }
  std::sort(all.begin(), all.end());
  return all;
}

void RunFolder::prune(std::int64_t keep) const {
  if (keep == 0) return;
  const std::vector<std::int64_t> all = epochs();
  const std::size_t surplus = all.size() - std::min(all.size(), static_cast<std::size_t>(keep));
  for (std::size_t i = 0; i < surplus; ++i) {
    std::error_code ignored;  // a checkpoint that cannot be removed harms nobody
    fs::remove(of_epoch(all[i]), ignored);
  }
}

std::optional<std::int64_t> RunFolder::step_of(const fs::path& checkpoint) {
  try {
    return checkpoint_info(SafetensorsFile(checkpoint)).step;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) throw;
    return std::nullopt;
  }
}

std::optional<RunFolder> RunFolder::set_aside_after(std::int64_t step, std::int64_t epochs_done) const {
  std::vector<std::int64_t> later = epochs();
  std::erase_if(later, [&](std::int64_t epoch) { return epoch <= epochs_done; });
  const auto is_later = [&](const fs::path& file) {
    return is_there(file) && step_of(file).value_or(step + 1) > step;
  };
  if (later.empty() && !is_later(last()) && !is_later(best())) return std::nullopt;
  fs::path name = path_ / "abandoned-1";
  for (int number = 2; is_there(name); ++number) name = path_ / fmt::format("abandoned-{}", number);
  const RunFolder aside(name);
  try {
    fs::create_directories(aside.checkpoints());
    for (const fs::path& file : {config(), path_ / "log.jsonl", path_ / "summary.csv"})
      if (is_there(file)) fs::copy_file(file, aside.path() / file.filename());
    for (const fs::path& file : event_files(path_)) fs::copy_file(file, aside.path() / file.filename());
    for (const fs::path& file : {last(), best()})
      if (is_there(file)) fs::copy_file(file, aside.checkpoints() / file.filename());
    for (const std::int64_t epoch : later) fs::rename(of_epoch(epoch), aside.of_epoch(epoch));
  } catch (const fs::filesystem_error& error) {
    fail(ErrorKind::runtime,
         fmt::format("cannot keep what the run wrote after step {}: {}", step, error.what()));
  }
  return aside;
}

bool RunFolder::is_free() const {
  if (!is_there(path_)) return true;
  std::error_code error;
  if (!fs::is_directory(path_, error)) return false;
  for (fs::directory_iterator entry(path_, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;  // of what cannot be looked into nothing is said, and it is no free place
    const fs::path name = entry->path().filename();
    const bool ours = name == RunLock::kFile || name == "config.toml" || name == "log.jsonl" ||
                      name == "summary.csv" || name == plans().filename() || is_event_file(name) ||
                      (entry->path() == checkpoints() && fs::is_empty(checkpoints(), ignored));
    if (!ours) return false;
  }
  if (error)
    fail(ErrorKind::runtime,
         fmt::format("cannot look into the folder {}: {}", path_.string(), error.message()));
  return true;
}

void check_free(const RunFolder& folder) {
  const std::string out = folder.path().string();
  if (is_there(folder.last()))
    fail(ErrorKind::usage,
         fmt::format("--out {} holds a run; go on with it by --resume {}, or choose another "
                     "folder",
                     out, out));
  if (!folder.is_free()) fail(ErrorKind::usage, fmt::format("--out {} exists and is no empty folder", out));
}

RunFolder make_run_folder(const std::string& model) {
  const std::string name =
      fmt::format("{}/{}-{:%Y%m%d-%H%M%S}", kRuns, model, fmt::localtime(std::time(nullptr)));
  std::error_code error;
  fs::create_directories(kRuns, error);
  fs::path path = name;
  for (int number = 2; !error && !fs::create_directory(path, error); ++number)
    path = fmt::format("{}-{}", name, number);  // the name is taken, perhaps this very moment
  if (error)
    fail(ErrorKind::runtime,
         fmt::format("cannot make the run folder {}: {}", path.string(), error.message()));
  return RunFolder(path);
}

std::optional<RunFolder> run_folder_of(const fs::path& checkpoint) {
  const fs::path folder = fs::absolute(checkpoint).parent_path();
  if (folder.filename() != "checkpoints" || !is_there(RunFolder(folder.parent_path()).config()))
    return std::nullopt;
  // A path as the user gave it reads better in messages than an absolute one.
  const fs::path given = checkpoint.parent_path().parent_path();
  return RunFolder(given.empty() ? folder.parent_path() : given);
}

}  // namespace zeroth::app
