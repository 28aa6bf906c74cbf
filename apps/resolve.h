#pragma once

#include <string>
#include <vector>

#include "apps/config_file.h"
#include "apps/options.h"

namespace zeroth::app {

/// What a user said, lowest precedence first within and across the members.
struct Said {
  std::vector<Assignment> file, environment, command_line;
};

/// What was said of one setting with the highest precedence; null where nothing was.
const Assignment* last_said(const Said& said, const std::string& key);

/// The settings among `wanted` that the environment gives (an empty variable gives nothing). Throws
/// Error(usage) for a ZEROTH_ variable that is near to a setting's and none: a slip of the pen.
std::vector<Assignment> read_environment(const std::vector<const Setting*>& wanted);

/// Adds the file that --config or ZEROTH_CONFIG names.
void read_said_file(Said& said);

/// default < recipe < file < environment < command line. Throws Error(usage).
TrainOptions resolve(const Said& said);

/// The options a checkpoint's training had. Throws Error(data) that names the checkpoint, a path, and the key
/// of a configuration that cannot be.
TrainOptions trained_options(const std::string& checkpoint_config, const std::string& checkpoint);

/// The options of a resumed run: those it began with, and of what was said only what may change. Throws
/// Error(usage), naming the setting, where something else was said.
TrainOptions resolve_resumed(const Said& said, const TrainOptions& began);

/// A line for each change that may be made to a resumed run and changes the last bits of what it computes.
std::vector<std::string> changes_of_bits(const TrainOptions& began, const TrainOptions& now);

/// The configuration that a checkpoint keeps, and the one a run folder keeps.
std::string checkpoint_config(const TrainOptions& options);
std::string folder_config(const TrainOptions& options);

}  // namespace zeroth::app
