// The command line, an argument each line: read by every command, and the settings of `train` resolved.
// Nothing is run, and no file is read besides those in the target's own folder.
#include "apps/command_line.h"

#include <algorithm>
#include <memory>
#include <sstream>

#include "apps/reproduce/command.h"
#include "tests/fuzz/target.h"

namespace zeroth::fuzz {

namespace {

/// CLI11 takes the last argument first.
std::vector<std::string> reversed(std::vector<std::string> arguments) {
  std::reverse(arguments.begin(), arguments.end());
  return arguments;
}

void parse(CLI::App& program, const std::vector<std::string>& arguments) {
  try {
    program.parse(reversed(arguments));
  } catch (const CLI::Success& done) {  // --help
    std::ostringstream text;
    program.exit(done, text, text);
  } catch (const CLI::ParseError& error) {
    fail(ErrorKind::usage, app::usage_message(program, error));
  }
  app::refuse_leftovers(program);
}

}  // namespace

void fuzz(Bytes input) {
  std::vector<std::string> arguments;
  std::istringstream text(as_text(input));
  for (std::string line; std::getline(text, line) && arguments.size() < 64;) arguments.push_back(line);
  const auto names_a_file = [](const std::string& argument) {
    return argument.find('/') != std::string::npos;
  };
  if (std::any_of(arguments.begin(), arguments.end(), names_a_file)) return;
  expect_answer([&] {
    app::Action action;
    CLI::App program("", "zeroth");
    program.allow_extras();
    app::add_train_command(program, action);
    app::add_eval_command(program, action);
    app::add_eval_all_command(program, action);
    app::add_compare_command(program, action);
    app::add_plot_command(program, action);
    app::add_predict_command(program, action);
    app::add_export_command(program, action);
    app::add_info_command(program, action);
    app::add_data_command(program, action);
    app::add_bench_command(program, action);
    app::add_recipes_command(program, action);
    app::add_reproduce_command(program, action);
    parse(program, arguments);
  });
  expect_answer([&] {
    app::Action action;
    CLI::App program("", "zeroth");
    std::unique_ptr<app::SettingFlags> settings;
    CLI::App& train = app::add_command(program, "train", "", "", action, [&] {
      app::resolve(settings->said());
      return 0;
    });
    settings = std::make_unique<app::SettingFlags>(train);
    parse(program, arguments);
    if (action) action();
  });
}

}  // namespace zeroth::fuzz
