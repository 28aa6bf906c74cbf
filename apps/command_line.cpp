#include "apps/command_line.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

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
  const std::string name = command.get_parent() == nullptr ? "zeroth" : "zeroth " + command.get_name();
  const char* kind = flag != words.end() ? "flag" : command.get_parent() == nullptr ? "command" : "argument";
  fail(ErrorKind::usage,
       fmt::format("{} has no {} '{}'{}; see {} --help", name, kind, word, did_you_mean(word, known), name));
}

void print_result(const std::string& text) {
  for (std::string_view left = text; !left.empty();) {
    const ssize_t written = ::write(STDOUT_FILENO, left.data(), left.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EPIPE) return;
    if (written < 0)
      fail(ErrorKind::runtime, fmt::format("cannot write the results: {}", std::strerror(errno)));
    left.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace zeroth::app
