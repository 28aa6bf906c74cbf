#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
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

/// What main() says of a command line that CLI11 refuses: which value is missing, and whose help explains it.
std::string usage_message(const CLI::App& program, const CLI::ParseError& error);

/// One line of JSON; what is not UTF-8 (a path may be anything) becomes U+FFFD.
std::string json_line(const nlohmann::ordered_json& value);

/// Writes results to stdout at once. Throws Error(runtime) when they cannot be written; a reader that went
/// away is no error.
void print_result(const std::string& text);

/// A line for people, to stderr. Where that is closed, full or a dead pipe, nobody is told and nothing fails.
void say(const std::string& line);

// Each adds its command to the program.
void add_train_command(CLI::App& program, Action& action);
void add_eval_command(CLI::App& program, Action& action);
void add_eval_all_command(CLI::App& program, Action& action);
void add_compare_command(CLI::App& program, Action& action);
void add_plot_command(CLI::App& program, Action& action);
void add_predict_command(CLI::App& program, Action& action);
void add_export_command(CLI::App& program, Action& action);
void add_info_command(CLI::App& program, Action& action);
void add_data_command(CLI::App& program, Action& action);
void add_bench_command(CLI::App& program, Action& action);

}  // namespace zeroth::app
