#include "apps/resolve.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "apps/did_you_mean.h"
#include "apps/recipes.h"
#include "kernels/core/error.h"

namespace zeroth::app {

namespace {

void assign_all(TrainOptions& options, const std::vector<Assignment>& layer) {
  for (const Assignment& assignment : layer) assign(options, assignment);
}

/// Refuses a flag that has no effect beside the others.
void check_effects(const TrainOptions& options, const Said& said) {
  for (const Assignment& assignment : said.command_line) {
    const Setting::Condition& condition = assignment.setting->only_with;
    if (condition.holds && !condition.holds(options))
      fail(ErrorKind::usage,
           fmt::format("{} has no effect: it goes with {}", assignment.source, condition.words));
  }
}

}  // namespace

const Assignment* last_said(const Said& said, const std::string& key) {
  for (const std::vector<Assignment>* layer : {&said.command_line, &said.environment, &said.file})
    for (auto line = layer->rbegin(); line != layer->rend(); ++line)
      if (line->setting->key == key) return &*line;
  return nullptr;
}

std::vector<Assignment> read_environment(const std::vector<const Setting*>& wanted) {
  std::vector<std::string> known;
  for (const Setting& setting : settings()) known.push_back(setting.variable());
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const char* equals = std::strchr(*entry, '=');
    if (equals == nullptr || std::strncmp(*entry, "ZEROTH_", 7) != 0) continue;
    const std::string name(*entry, static_cast<std::size_t>(equals - *entry));
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    const std::string hint = did_you_mean(name, known, 2);
    if (!hint.empty()) fail(ErrorKind::usage, fmt::format("no setting has the variable {}{}", name, hint));
  }
  std::vector<Assignment> assignments;
  for (const Setting* setting : wanted) {
    if (!setting->from_environment) continue;
    const char* value = std::getenv(setting->variable().c_str());
    if (value != nullptr && *value != '\0') assignments.push_back({setting, value, setting->variable()});
  }
  return assignments;
}

void read_said_file(Said& said) {
  if (const Assignment* config = last_said(said, "config")) said.file = read_config_file(config->text);
}

TrainOptions resolve(const Said& said) {
  TrainOptions options;
  if (const Assignment* recipe = last_said(said, "recipe")) assign(options, *recipe);
  assign_all(options, read_config_text(find_recipe(options.recipe).text, "recipe " + options.recipe));
  assign_all(options, said.file);
  assign_all(options, said.environment);
  assign_all(options, said.command_line);
  check_together(options);
  check_effects(options, said);
  return options;
}

TrainOptions trained_options(const std::string& checkpoint_config, const std::string& checkpoint) {
  TrainOptions options;
  try {
    assign_all(options, read_config_text(checkpoint_config, "its configuration"));
    check_together(options);
  } catch (const Error& error) {
    fail(ErrorKind::data, fmt::format("{} is damaged: {}", checkpoint, error.what()));
  }
  return options;
}

TrainOptions resolve_resumed(const Said& said, const TrainOptions& began) {
  TrainOptions options = began;
  for (const Setting& setting : settings()) {
    const Assignment* assignment = last_said(said, setting.key);
    if (assignment == nullptr) continue;
    TrainOptions changed = options;
    assign(changed, *assignment);
    const std::string before = setting.print(options), after = setting.print(changed);
    if (before != after && !setting.may_change)
      fail(ErrorKind::usage,
           fmt::format("{} {} differs from the {} the run began with; a resumed run keeps its settings",
                       assignment->source, after,
                       before.empty() ? "default (" + setting.unset + ")" : before));
    options = std::move(changed);
  }
  check_together(options);
  return options;
}

std::vector<std::string> changes_of_bits(const TrainOptions& began, const TrainOptions& now) {
  std::vector<std::string> lines;
  for (const char* key : {"threads", "tf32", "cudnn_plans", "impl"}) {
    const Setting& setting = *find_setting(key);
    const auto text = [&](const TrainOptions& options) {
      const std::string value = setting.print(options);
      return value.empty() ? setting.unset : value;
    };
    // Deterministic rows cut no sum by threads.
    if (setting.key == "threads" && now.deterministic) continue;
    if (text(began) != text(now))
      lines.push_back(fmt::format("{} {} instead of {}: the last bits will differ from those of one long run",
                                  setting.flag(), text(now), text(began)));
  }
  return lines;
}

std::string checkpoint_config(const TrainOptions& options) {
  return write_config(options, [](const Setting& setting) { return setting.in_checkpoint; });
}

std::string folder_config(const TrainOptions& options) {
  return write_config(options, [](const Setting& setting) { return setting.recorded; });
}

}  // namespace zeroth::app
