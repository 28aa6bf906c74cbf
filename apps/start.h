#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/checkpoint_info.h"
#include "apps/ranks.h"
#include "apps/resolve.h"
#include "apps/run_folder.h"
#include "apps/run_lock.h"
#include "engine/safetensors.h"

namespace zeroth::app {

/// How a training begins: anew, or from a checkpoint.
struct Start {
  TrainOptions options;
  std::optional<RunFolder> folder;  ///< where the run goes; until open_run(), only where it is known
  std::optional<RunFolder> source;  ///< the run the checkpoint belongs to; none where it lies elsewhere
  bool in_place = false;            ///< a resumed run that stays in its folder
  std::optional<RunLock> lock;      ///< on `folder`
  bool resumed = false;
  std::unique_ptr<SafetensorsFile> checkpoint;  ///< of a resumed run; rank 0 alone has it
  CheckpointInfo info;
  std::vector<std::string> notices;  ///< lines for people, once it is certain that the run begins
};

/// Decides by --resume and --out, reads the checkpoint and resolves the options. Changes nothing on disk, but
/// locks a run that stays where it is. Throws Error(usage, data), and Error(runtime) where another process
/// has the lock. Of several ranks the first one decides, and tells the others, which touch no file.
Start decide_start(const Said& said, Ranks* ranks);

/// Of several ranks, after rank 0's open_run(): what that has found of the best checkpoint.
void follow_open_run(Start& start, Ranks& ranks);

/// Once everything else is checked: makes the folder, or readies the old one, so that it can be resumed from
/// this moment on. A resumed run's folder then has its checkpoint as last, the best one of the steps before
/// it, and its configuration; one that goes elsewhere takes its logs along. What an earlier run in place
/// wrote after that step is kept beside, and said. Throws Error(runtime, usage).
void open_run(Start& start, std::int64_t steps_per_epoch);

/// A line for people, unless --quiet.
void tell(const TrainOptions& options, const std::string& line);

}  // namespace zeroth::app
