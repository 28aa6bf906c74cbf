#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace zeroth::app {

/// Help in 80 columns: what a flag does is wrapped beside it.
class HelpFormat final : public CLI::Formatter {
 public:
  std::string make_group(std::string group, bool is_positional,
                         std::vector<const CLI::Option*> options) const override;
  std::string make_option(const CLI::Option* option, bool is_positional) const override;
  std::string make_subcommand(const CLI::App* command) const override;
};

}  // namespace zeroth::app
