#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace zeroth::app {

/// `name` in a left column, `text` wrapped beside it in 80 columns; a name too long has a line of its own.
std::string two_columns(const std::string& name, const std::string& text, std::size_t column);

/// Help in 80 columns: what a flag does is wrapped beside it.
class HelpFormat final : public CLI::Formatter {
 public:
  std::string make_group(std::string group, bool is_positional,
                         std::vector<const CLI::Option*> options) const override;
  std::string make_option(const CLI::Option* option, bool is_positional) const override;
  std::string make_subcommand(const CLI::App* command) const override;
};

}  // namespace zeroth::app
