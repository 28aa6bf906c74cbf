#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "apps/recipes.h"
#include "apps/reproduce/command.h"

namespace zeroth::app {

namespace {

/// Words in lines of at most 100 characters, all but the first indented.
std::string wrapped(const std::string& text, std::size_t indent) {
  std::string lines;
  std::size_t used = indent;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (used > indent && used + 1 + word.size() > 100) {
      lines += '\n' + std::string(indent, ' ');
      used = indent;
    } else if (used > indent) {
      lines += ' ';
      ++used;
    }
    lines += word;
    used += word.size();
  }
  return lines;
}

/// What a recipe reproduces: its first comment, up to an empty line of it, as one line.
std::string purpose_of(const Recipe& recipe) {
  std::istringstream lines(recipe.text);
  std::string all;
  for (std::string line; std::getline(lines, line) && line.size() > 2 && line.starts_with("# ");)
    all += (all.empty() ? "" : " ") + line.substr(2);
  return all;
}

int show_recipes(const std::string& name, bool json) {
  if (!name.empty()) {
    print_result(find_recipe(name).text);
    return 0;
  }
  nlohmann::ordered_json list;
  std::size_t width = 0;
  for (const Recipe& recipe : recipes()) width = std::max(width, recipe.name.size());
  std::string text;
  for (const Recipe& recipe : recipes()) {
    list[recipe.name] = purpose_of(recipe);
    text += fmt::format("{:<{}}  {}\n", recipe.name, width, wrapped(purpose_of(recipe), width + 2));
  }
  print_result(json ? json_line(list) : text);
  return 0;
}

}  // namespace

void add_recipes_command(CLI::App& program, Action& action) {
  auto name = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  CLI::App& command = add_command(
      program, "recipes", "What --recipe takes, and what each reproduces; or the text of one.",
      "zeroth recipes\n  zeroth recipes rezero-published > mine.toml\n  zeroth train --config mine.toml",
      action, [name, json] { return show_recipes(*name, *json); });
  command.add_option("name", *name, "print this recipe, to be copied and edited")->type_name("NAME");
  command.add_flag("--json", *json, "print the list as JSON");
}

}  // namespace zeroth::app
