#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "apps/options.h"

namespace zeroth::app {

/// A value on its way to a setting, and where it came from: "--lr", "ZEROTH_LR", "my.toml:3:1: lr".
struct Assignment {
  const Setting* setting = nullptr;
  std::string text, source;
};

/// The settings of a TOML text, in its order. Throws Error(usage) with name:line:column for a broken line, an
/// unknown key, a key twice, a table, or a value of the wrong type. `name` is what messages call the text.
std::vector<Assignment> read_config_text(const std::string& text, const std::string& name);

/// The same for a file. Throws Error(usage) when it cannot be read.
std::vector<Assignment> read_config_file(const std::filesystem::path& path);

/// A TOML text of the settings that `chosen` picks; one without a value becomes a comment that says what
/// holds instead. read_config_text() gives the same values back.
std::string write_config(const TrainOptions& options, const std::function<bool(const Setting&)>& chosen);

/// Parses the assignment into `options`; throws Error(usage) that begins with its source.
void assign(TrainOptions& options, const Assignment& assignment);

}  // namespace zeroth::app
