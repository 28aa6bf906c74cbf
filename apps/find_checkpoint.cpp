#include "apps/find_checkpoint.h"

#include <fmt/format.h>

#include <vector>

#include "apps/checkpoint_info.h"
#include "apps/command_line.h"
#include "apps/resolve.h"
#include "apps/run_folder.h"
#include "kernels/core/error.h"

namespace zeroth::app {
namespace fs = std::filesystem;

namespace {

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

/// Of a whole checkpoint, or what is wrong with the file.
struct Reading {
  std::optional<CheckpointInfo> info;
  std::string damage;
};

Reading read(const fs::path& checkpoint) {
  try {
    return {checkpoint_info(SafetensorsFile(checkpoint)), ""};
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) throw;
    return {std::nullopt, error.what()};
  }
}

struct Candidate {
  fs::path path;
  CheckpointInfo info;
};

/// The intact checkpoint of the most steps besides last.safetensors.
std::optional<Candidate> newest_but_last(const RunFolder& run) {
  std::optional<Candidate> newest;
  const auto consider = [&](const fs::path& path) {
    Reading reading = read(path);
    if (reading.info && (!newest || reading.info->step > newest->info.step))
      newest = Candidate{path, std::move(*reading.info)};
    return newest.has_value();
  };
  const std::vector<std::int64_t> epochs = run.epochs();
  for (auto epoch = epochs.rbegin(); epoch != epochs.rend(); ++epoch)
    if (consider(run.of_epoch(*epoch))) break;
  if (is_there(run.best())) consider(run.best());
  return newest;
}

struct Newest {
  Candidate candidate;
  std::string notice;
};

/// The last checkpoint of a run, or the newest intact one besides.
Newest newest_of(const RunFolder& run) {
  Reading last = read(run.last());
  if (last.info) return {{run.last(), std::move(*last.info)}, ""};
  std::optional<Candidate> other = newest_but_last(run);
  if (!other) {
    if (is_there(run.last())) fail(ErrorKind::data, last.damage);
    fail(ErrorKind::data,
         fmt::format("no checkpoint in {}: expected {}", run.path().string(), run.last().string()));
  }
  std::string notice = fmt::format("{}; {} is taken instead, the newest intact one, of step {}", last.damage,
                                   other->path.string(), other->info.step);
  return {std::move(*other), std::move(notice)};
}

bool has_checkpoint(const RunFolder& run) {
  return is_there(run.last()) || is_there(run.best()) || !run.epochs().empty();
}

/// The run that was written to last; the time of a checkpoints folder is that of its last change.
std::optional<RunFolder> newest_run() {
  std::optional<RunFolder> newest;
  fs::file_time_type time{};
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(kRuns, error)) {
    const RunFolder run(entry.path());
    std::error_code unreadable;
    const fs::file_time_type here = fs::last_write_time(run.checkpoints(), unreadable);
    if (unreadable || !has_checkpoint(run) || (newest && here <= time)) continue;
    newest = run;
    time = here;
  }
  return newest;
}

FoundCheckpoint found(Newest newest) {
  return {std::move(newest.candidate.path), std::move(newest.notice)};
}

/// Whether the run held pictures out, whose accuracy says which checkpoint is the best.
bool is_validated(const Candidate& candidate) {
  return trained_options(candidate.info.config, candidate.path.string()).val_split > 0;
}

}  // namespace

std::optional<FoundCheckpoint> find_resume_checkpoint(const std::string& resume, const std::string& out) {
  if (resume == "auto") {
    const std::optional<RunFolder> run = out.empty() ? newest_run() : RunFolder(out);
    if (!run || !has_checkpoint(*run)) return std::nullopt;
    return found(newest_of(*run));
  }
  std::error_code error;
  if (!fs::is_directory(resume, error)) return FoundCheckpoint{resume, ""};
  return found(newest_of(RunFolder(resume)));
}

std::string find_whole_checkpoint(const std::string& run_or_checkpoint) {
  std::error_code error;
  if (!fs::is_directory(run_or_checkpoint, error)) return run_or_checkpoint;
  const RunFolder run(run_or_checkpoint);
  std::string damage;
  if (is_there(run.best())) {
    Reading best = read(run.best());
    if (best.info && is_validated({run.best(), std::move(*best.info)})) return run.best().string();
    damage = best.damage;
  }
  const Newest newest = newest_of(run);
  const std::string path = newest.candidate.path.string();
  if (!damage.empty() && is_validated(newest.candidate)) {
    say(fmt::format("{}; {} is taken instead, of step {}", damage, path, newest.candidate.info.step));
  } else if (!newest.notice.empty()) {
    say(newest.notice);
  }
  return path;
}

}  // namespace zeroth::app
