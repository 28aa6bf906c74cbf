#include "apps/start.h"

#include <fmt/format.h>
#include <omp.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>

#include "apps/command_line.h"
#include "apps/find_checkpoint.h"
#include "apps/parse_value.h"
#include "engine/atomic_file.h"
#include "engine/event_log.h"
#include "kernels/core/error.h"

namespace zeroth::app {
namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kMostSteps = std::numeric_limits<std::int64_t>::max();

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

/// A resumed run keeps the pictures of a step, and its learning rate, on however many ranks they are trained.
void settle_ranks(Start& start, const Ranks* ranks) {
  TrainOptions& options = start.options;
  const std::int64_t size = ranks == nullptr ? 1 : ranks->size();
  if (start.resumed) {
    const TrainOptions began = trained_options(start.info.config, "the checkpoint");
    const std::int64_t pictures = began.batch_size * began.ranks.value_or(1);
    if (pictures % size != 0)
      fail(ErrorKind::usage,
           fmt::format("the {} pictures of each step of this run cannot be divided among {} ranks", pictures,
                       size));
    options.batch_size = pictures / size;
    if (options.scale_lr == ScaleLr::linear) {  // the pictures of a step stay, and so does its rate
      const double change = static_cast<double>(began.ranks.value_or(1)) / static_cast<double>(size);
      options.lr *= change;
      for (std::optional<double>* rate : {&options.alpha_lr, &options.bias_lr})
        if (*rate) **rate *= change;
      options.muon_lr *= change;
    }
  }
  options.ranks = size == 1 ? std::nullopt : std::optional(size);
  if (ranks != nullptr) options.device = ranks->device_for(options.device);
  if (ranks != nullptr && !ranks->leads()) options.quiet = true;
  if (!options.threads) options.threads = ranks == nullptr ? omp_get_num_procs() : ranks->threads();
}

Start follow_start(const Said& said, Ranks& ranks) {
  Start start;
  const std::string told = ranks.rendezvous().get("start");
  start.resumed = !told.empty();
  if (start.resumed) {
    start.info =
        checkpoint_info(nlohmann::json::parse(told).get<SafetensorsMetadata>(), "rank 0's checkpoint");
    start.options = resolve_resumed(said, trained_options(start.info.config, "rank 0's checkpoint"));
  } else {
    start.options = resolve(said);
  }
  return start;
}

Start lead_start(const Said& said) {
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
    start.resumed = true;
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
  if (start.in_place) {
    start.folder = start.source;
  } else if (!start.options.out.empty()) {
    start.folder = RunFolder(start.options.out);
    check_free(*start.folder);
  }
  return start;
}

}  // namespace

void tell(const TrainOptions& options, const std::string& line) {
  if (!options.quiet) say(line);
}

Start decide_start(const Said& said, Ranks* ranks) {
  const bool leads = ranks == nullptr || ranks->leads();
  Start start = leads ? lead_start(said) : follow_start(said, *ranks);
  if (ranks != nullptr && leads)
    ranks->rendezvous().set("start", start.resumed ? nlohmann::json(start.info.metadata()).dump() : "");
  settle_ranks(start, ranks);
  return start;
}

void follow_open_run(Start& start, Ranks& ranks) {
  const auto text = [](const auto& value) { return value ? fmt::format("{}", *value) : ""; };
  if (ranks.leads()) {
    ranks.rendezvous().set("best/accuracy", text(start.info.best_accuracy));
    ranks.rendezvous().set("best/step", text(start.info.best_step));
  }
  const std::string accuracy = ranks.rendezvous().get("best/accuracy"),
                    step = ranks.rendezvous().get("best/step");
  start.info.best_accuracy = accuracy.empty() ? std::nullopt : std::optional(parse_real(accuracy, kAnyReal));
  start.info.best_step = step.empty() ? std::nullopt : std::optional(parse_integer(step, 0, kMostSteps));
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
