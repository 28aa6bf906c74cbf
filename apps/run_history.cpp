#include "apps/run_history.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <set>

#include "apps/resolve.h"
#include "kernels/core/error.h"

namespace zeroth::app {
namespace fs = std::filesystem;

namespace {

RunHistory read_history(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) fail(ErrorKind::data, fmt::format("{}: no such run folder", path));
  const RunFolder folder(path);
  std::ifstream file(folder.config(), std::ios::binary);
  const std::string config(std::istreambuf_iterator<char>(file), {});
  if (!file.is_open() || config.empty())
    fail(ErrorKind::data, fmt::format("{} is no run folder of zeroth train: {} is missing or empty", path,
                                      folder.config().string()));
  return {path, folder, trained_options(config, folder.config().string()), read_run_log(path)};
}

}  // namespace

std::string RunHistory::marked_name() const {
  return records.data.starts_with("generated") ? name + " (generated)" : name;
}

std::vector<RunHistory> read_histories(const std::vector<std::string>& folders) {
  std::vector<RunHistory> runs;
  std::set<std::string> names;
  for (const std::string& folder : folders) {
    runs.push_back(read_history(folder));
    names.insert(fs::absolute(folder / fs::path()).parent_path().filename().string());
  }
  if (names.size() == runs.size())
    for (RunHistory& run : runs)
      run.name = fs::absolute(run.folder.path() / fs::path()).parent_path().filename().string();
  return runs;
}

const SetResult* held_out(const EpochRecord& record) {
  return record.validation ? &*record.validation : record.test ? &*record.test : nullptr;
}

const EpochRecord* best_epoch(const std::vector<EpochRecord>& epochs) {
  const EpochRecord* best = nullptr;
  for (const EpochRecord& record : epochs)
    if (const SetResult* result = held_out(record);
        result != nullptr && (best == nullptr || result->error < held_out(*best)->error))
      best = &record;
  return best;
}

std::optional<std::int64_t> epochs_to_train_error(const std::vector<EpochRecord>& epochs, double error) {
  for (const EpochRecord& record : epochs)
    if (record.train.error <= error) return record.epoch;
  return std::nullopt;
}

double total_seconds(const std::vector<EpochRecord>& epochs) {
  double sum = 0.0;
  for (const EpochRecord& record : epochs)
    if (std::isfinite(record.seconds)) sum += record.seconds;
  return sum;
}

double mean_images_per_second(const std::vector<EpochRecord>& epochs) {
  // Epochs have as many pictures each, so the mean is that of the seconds a picture took.
  double seconds = 0.0;
  std::int64_t timed = 0;
  for (const EpochRecord& record : epochs)
    if (record.images_per_second > 0.0) seconds += 1.0 / record.images_per_second, ++timed;
  return timed == 0 ? std::numeric_limits<double>::quiet_NaN() : static_cast<double>(timed) / seconds;
}

}  // namespace zeroth::app
