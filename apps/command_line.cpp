#include "apps/command_line.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "apps/did_you_mean.h"
#include "engine/write_all.h"
#include "kernels/core/error.h"

namespace zeroth::app {

namespace {

std::string with_default(const Setting& setting) {
  static const TrainOptions defaults = resolve({});
  const std::string value = setting.print(defaults);
  const std::string shown = value.empty() ? setting.unset : value;
  if (setting.type == ValueType::boolean) return setting.help + (value == "true" ? " [yes]" : " [no]");
  return fmt::format("{} [{}]", setting.help, shown);
}

/// An empty value (a variable that was not set) is no way to say nothing, and a switch takes true or false.
void refuse_values(const CLI::App& command) {
  for (const CLI::Option* option : command.get_options()) {
    const std::string name = option->get_positional() ? option->get_type_name() : option->get_name();
    for (const std::string& value : option->results()) {
      if (value.empty()) fail(ErrorKind::usage, fmt::format("{}: expected a value, not ''", name));
      if (option->get_expected_max() == 0 && value != "true" && value != "false")
        fail(ErrorKind::usage, fmt::format("{}: expected true or false, not '{}'", name, value));
    }
  }
}

/// "zeroth data fetch"
std::string name_of(const CLI::App& command) {
  return (command.get_parent() == nullptr ? "" : name_of(*command.get_parent()) + ' ') + command.get_name();
}

}  // namespace

SettingFlags::SettingFlags(CLI::App& command, const std::vector<std::string>& keys) {
  for (const std::string& key : keys) add(command, *find_setting(key), find_setting(key)->help);
}

SettingFlags::SettingFlags(CLI::App& command) {
  for (const Setting& setting : settings()) add(command, setting, with_default(setting));
}

void SettingFlags::add(CLI::App& command, const Setting& setting, const std::string& help) {
  CLI::Option* option = nullptr;
  if (setting.type == ValueType::boolean) {
    option = command.add_flag(setting.flag() + ",!--no-" + setting.flag().substr(2));
  } else {
    // Bound to nothing: results are read back as text, and the table parses them.
    option = command.add_option(setting.flag())->type_name(setting.placeholder);
  }
  option->description(help);
  option->group(setting.group)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  flags_.push_back({&setting, option});
}

Said SettingFlags::said() const {
  Said said;
  std::vector<const Setting*> wanted;
  for (const auto& [setting, option] : flags_) {
    wanted.push_back(setting);
    const std::vector<std::string>& values = option->results();
    if (values.empty()) continue;
    // A flag given twice: the last one holds, but --impl gathers.
    std::string text = values.back();
    if (setting->key == "impl") text = fmt::format("{}", fmt::join(values, ","));
    said.command_line.push_back({setting, text, setting->flag()});
  }
  said.environment = read_environment(wanted);
  read_said_file(said);
  return said;
}

CLI::App& add_command(CLI::App& program, const std::string& name, const std::string& description,
                      const std::string& example, Action& action, Action run) {
  CLI::App* command = program.add_subcommand(name, description);
  command->allow_extras();
  command->footer("Example:\n  " + example);
  command->callback([command, &action, run = std::move(run)] {
    refuse_leftovers(*command);
    refuse_values(*command);
    action = run;
  });
  return *command;
}

void refuse_leftovers(const CLI::App& command) {
  const std::vector<std::string> words = command.remaining();
  if (words.empty()) return;
  // The value of an unknown flag is left over, too, and may come first.
  const auto flag =
      std::find_if(words.begin(), words.end(), [](const auto& w) { return w.starts_with('-'); });
  const std::string word = flag == words.end() ? words.front() : flag->substr(0, flag->find('='));
  std::vector<std::string> known;
  for (const CLI::Option* option : command.get_options())
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  for (const CLI::App* sub : command.get_subcommands([](const CLI::App*) { return true; }))
    known.push_back(sub->get_name());
  const std::string name = name_of(command);
  const char* kind = flag != words.end() ? "flag" : command.get_parent() == nullptr ? "command" : "argument";
  fail(ErrorKind::usage,
       fmt::format("{} has no {} '{}'{}; see {} --help", name, kind, word, did_you_mean(word, known), name));
}

std::string usage_message(const CLI::App& program, const CLI::ParseError& error) {
  const CLI::App* command = &program;
  while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
  std::string reason = error.what();
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr)
    reason = reason.substr(0, reason.find(':')) + " needs a value";
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr)
    for (const CLI::Option* option : command->get_options())
      if (option->get_required() && option->empty())
        reason =
            fmt::format("{} needs {}{}", name_of(*command),
                        option->get_positional() ? "" : option->get_name() + ' ', option->get_type_name());
  return fmt::format("{}; see {} --help", reason, name_of(*command));
}

std::string json_line(const nlohmann::ordered_json& value) {
  return value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + '\n';
}

void print_result(const std::string& text) {
  if (!write_all(STDOUT_FILENO, text) && errno != EPIPE)
    fail(ErrorKind::runtime, fmt::format("cannot write the results: {}", std::strerror(errno)));
}

void say(const std::string& line) {
  static_cast<void>(write_all(STDERR_FILENO, line + '\n'));
}

}  // namespace zeroth::app
