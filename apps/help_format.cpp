#include "apps/help_format.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <sstream>

namespace zeroth::app {

namespace {

constexpr std::size_t kWidth = 80, kColumn = 26;

}  // namespace

std::string two_columns(const std::string& name, const std::string& text, std::size_t column) {
  std::string result = name;
  std::size_t used = result.size();
  if (used >= column) {
    result += '\n';
    used = 0;
  }
  result.append(column - used, ' ');
  used = column;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (used > column && used + 1 + word.size() > kWidth) {
      result += '\n' + std::string(column, ' ');
      used = column;
    } else if (used > column) {
      result += ' ';
      ++used;
    }
    result += word;
    used += word.size();
  }
  return result + '\n';
}

std::string HelpFormat::make_group(std::string group, bool is_positional,
                                   std::vector<const CLI::Option*> options) const {
  // Groups begin with an empty line and are joined by another one; one is enough.
  const bool first = is_positional || group == "Options";
  const std::string text = Formatter::make_group(std::move(group), is_positional, std::move(options));
  return first ? text : text.substr(1);
}

std::string HelpFormat::make_option(const CLI::Option* option, bool is_positional) const {
  std::string name;
  if (is_positional) {
    name = option->get_type_name();
  } else {
    std::vector<std::string> names;
    for (const std::string& letter : option->get_snames()) names.push_back("-" + letter);
    for (const std::string& word : option->get_lnames()) names.push_back("--" + word);
    name = fmt::format("{}", fmt::join(names, ", "));
    if (!option->get_type_name().empty() && option->get_expected_max() > 0)
      name += ' ' + option->get_type_name();
  }
  return two_columns("  " + name, option->get_description(), kColumn);
}

std::string HelpFormat::make_subcommand(const CLI::App* command) const {
  return two_columns("  " + command->get_name(), command->get_description(), kColumn);
}

}  // namespace zeroth::app
