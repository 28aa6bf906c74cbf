#include "apps/start.h"

#include <fmt/format.h>
#include <omp.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "apps/command_line.h"
#include "apps/find_checkpoint.h"
#include "engine/atomic_file.h"
#include "engine/event_log.h"
#include "kernels/core/error.h"

namespace zeroth::app {
namespace fs = std::filesystem;

namespace {

std::string said_text(const Said& said, const std::string& key) {
  const Assignment* assignment = last_said(said, key);
  return assignment == nullptr ? "" : assignment->text;
}

void copy_whole(const fs::path& from, const fs::path& to) {
  std::ifstream file(from, std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  if (!file) fail(ErrorKind::runtime, fmt::format("cannot read {}", from.string()));
  replace_file(to, bytes);
}

/// The folder of a resumed run gets the best checkpoint of the steps before it. Where that is lost, the best
/// of those to come counts.
void settle_best(Start& start) {
  const RunFolder& folder = *start.folder;
  CheckpointInfo& info = start.info;
  std::optional<std::int64_t> step;  // of the best checkpoint that is there, where it counts
  if (start.source && fs::exists(start.source->best())) step = RunFolder::step_of(start.source->best());
  if (step > info.step) step.reset();
  if (info.best_step == info.step && step != info.step) {
    copy_whole(start.checkpoint->path(),
               folder.best());  // the run died after saving the one, before the other
  } else if (step) {
    if (!start.in_place) copy_whole(start.source->best(), folder.best());
  } else {
    info.best_accuracy.reset();
    info.best_step.reset();
    std::error_code error;
    fs::remove(folder.best(), error);
    if (error)
      fail(ErrorKind::runtime, fmt::format("cannot remove {}: {}", folder.best().string(), error.message()));
  }
}

/// The copy under an epoch's name that the run was about to make when it died.
void settle_epoch(const Start& start, std::int64_t steps_per_epoch) {
  const std::int64_t step = start.info.step, epoch = step / steps_per_epoch, every = start.options.save_every;
  const bool ends_epoch = step > 0 && step % steps_per_epoch == 0 && !start.info.evaluation_due;
  if (!ends_epoch || every == 0 || epoch % every != 0) return;
  if (!fs::exists(start.folder->of_epoch(epoch)))
    copy_whole(start.checkpoint->path(), start.folder->of_epoch(epoch));
  start.folder->prune(start.options.keep);
}

/// --max-steps is no part of a checkpoint, as it changes no bit of a training; the run's configuration has
/// it. One that the run has not reached yet holds until something else is said.
void keep_step_limit(Start& start, const Said& said) {
  if (!start.source || last_said(said, "max_steps") != nullptr) return;
  TrainOptions kept;
  try {
    for (const Assignment& assignment : read_config_file(start.source->config().string()))
      if (assignment.setting->key == "max_steps") assign(kept, assignment);
  } catch (const Error& error) {
    start.notices.push_back(fmt::format("{}; a --max-steps in it is forgotten", error.what()));
  }
  if (kept.max_steps && *kept.max_steps <= start.info.step)
    start.notices.push_back(fmt::format(
        "the run reached its --max-steps {}: it goes on to the end of its epochs", *kept.max_steps));
  else
    start.options.max_steps = kept.max_steps;
}

void fill_folder(Start& start, std::int64_t steps_per_epoch) {
  const RunFolder& folder = *start.folder;
  if (start.checkpoint != nullptr) {
    const std::int64_t step = start.info.step;
    if (start.in_place) {
      if (const auto aside = folder.set_aside_after(step, step / steps_per_epoch))
        start.notices.push_back(
            fmt::format("what the run wrote after step {} is kept in {}", step, aside->path().string()));
    } else if (start.source) {
      // Plans go along, too: others would change the last bits.
      for (const fs::path& file :
           {start.source->path() / "log.jsonl", start.source->path() / "summary.csv", start.source->plans()})
        if (fs::exists(file)) copy_whole(file, folder.path() / file.filename());
      for (const fs::path& file : event_files(start.source->path()))
        copy_whole(file, folder.path() / file.filename());
    }
    if (start.checkpoint->path() != folder.last()) copy_whole(start.checkpoint->path(), folder.last());
    settle_best(start);
    if (start.in_place) settle_epoch(start, steps_per_epoch);
  }
  replace_file(folder.config(), folder_config(start.options));
}

}  // namespace

void tell(const TrainOptions& options, const std::string& line) {
  if (!options.quiet) say(line);
}

Start decide_start(const Said& said) {
  const std::string resume = said_text(said, "resume"), out = said_text(said, "out");
  const auto found = resume.empty() ? std::nullopt : find_resume_checkpoint(resume, out);
  Start start;
  if (!found) {
    start.options = resolve(said);
    if (!resume.empty()) start.notices = {"--resume auto finds no checkpoint: a new run begins"};
  } else {
    const fs::path& checkpoint = found->path;
    if (!fs::exists(checkpoint))
      fail(ErrorKind::data,
           fmt::format("--resume {}: no such run folder or checkpoint", checkpoint.string()));
    if (!found->notice.empty()) say(found->notice);
    start.source = run_folder_of(checkpoint);
    start.in_place = start.source &&
                     (out.empty() || fs::weakly_canonical(out) == fs::weakly_canonical(start.source->path()));
    // Locked before it is read: another process may be about to replace what is read.
    if (start.in_place) start.lock.emplace(start.source->path());
    start.checkpoint = std::make_unique<SafetensorsFile>(checkpoint);
    start.info = checkpoint_info(*start.checkpoint);
    if (out.empty() && !start.source)
      fail(ErrorKind::usage,
           fmt::format("{} lies in no run folder; say with --out where the resumed run goes",
                       checkpoint.string()));
    const TrainOptions began = trained_options(start.info.config, checkpoint.string());
    start.options = resolve_resumed(said, began);
    start.notices = changes_of_bits(began, start.options);
    keep_step_limit(start, said);
  }
  if (!start.options.threads) start.options.threads = omp_get_num_procs();
  if (start.in_place) {
    start.folder = start.source;
  } else if (!start.options.out.empty()) {
    start.folder = RunFolder(start.options.out);
    check_free(*start.folder);
  }
  return start;
}

void open_run(Start& start, std::int64_t steps_per_epoch) {
  const bool was_there = start.folder && fs::exists(start.folder->path());
  if (!start.folder) start.folder = make_run_folder(start.options.model);
  start.folder->create();
  if (!start.lock) {
    start.lock.emplace(start.folder->path());
    check_free(*start.folder);  // again: another process may have come first
  }
  try {
    fill_folder(start, steps_per_epoch);
  } catch (...) {
    std::error_code ignored;  // the error on its way says more
    if (!was_there) fs::remove_all(start.folder->path(), ignored);
    throw;
  }
}

}  // namespace zeroth::app
