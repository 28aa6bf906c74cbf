#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "apps/resolve.h"

namespace zeroth::app {

/// What main() runs once the command line has been read; the exit code.
using Action = std::function<int()>;

/// Flags of the settings table on a subcommand.
class SettingFlags {
 public:
  /// Adds the flags of these keys, or of the whole table with its defaults in brackets.
  SettingFlags(CLI::App& command, const std::vector<std::string>& keys);
  explicit SettingFlags(CLI::App& command);

  /// What was said on the command line, in the environment and in the configuration file. After parsing.
  Said said() const;

 private:
  struct Flag {
    const Setting* setting;
    CLI::Option* option;
  };
  void add(CLI::App& command, const Setting& setting, const std::string& help);
  std::vector<Flag> flags_;
};

/// A subcommand with this description and example. What it does not know is refused with the nearest word it
/// knows; then `run` is made the action.
CLI::App& add_command(CLI::App& program, const std::string& name, const std::string& description,
                      const std::string& example, Action& action, Action run);

/// Throws Error(usage) when words are left that nothing has taken.
void refuse_leftovers(const CLI::App& command);

/// Writes results to stdout at once. Throws Error(runtime) when they cannot be written; a reader that went
/// away is no error.
void print_result(const std::string& text);

// Each adds its command to the program.
void add_train_command(CLI::App& program, Action& action);
void add_eval_command(CLI::App& program, Action& action);
void add_info_command(CLI::App& program, Action& action);
void add_data_command(CLI::App& program, Action& action);

}  // namespace zeroth::app
