#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <exception>
#include <memory>
#include <new>
#include <sstream>

#include "apps/command_line.h"
#include "apps/help_format.h"
#include "apps/reproduce/command.h"
#include "apps/version.h"
#include "engine/write_all.h"
#include "kernels/core/error.h"

namespace zeroth::app {

namespace {

int report(const std::string& message, ErrorKind kind) {
  say("zeroth: " + message);
  return static_cast<int>(kind);
}

int run(int argc, char** argv) {
  CLI::App program("zeroth trains ReZero and plain ResNets with hand-written kernels, on GPU or CPU.",
                   "zeroth");
  program.set_version_flag("--version", version_text());
  program.allow_extras();
  program.footer(
      "Example:\n  zeroth train --model rezero-resnet20 --epochs 10\n"
      "`zeroth COMMAND --help` explains a command. Exit codes: 0 done, 1 run time,\n"
      "2 usage, 3 data or checkpoint, 4 no such device, 5 another rank failed,\n"
      "6 diverged or target missed, 130, 138 and 143 saved on SIGINT, SIGUSR1, SIGTERM.");
  program.formatter(std::make_shared<HelpFormat>());
  Action action;
  add_train_command(program, action);
  add_eval_command(program, action);
  add_eval_all_command(program, action);
  add_compare_command(program, action);
  add_plot_command(program, action);
  add_predict_command(program, action);
  add_export_command(program, action);
  add_info_command(program, action);
  add_data_command(program, action);
  add_bench_command(program, action);
  add_recipes_command(program, action);
  add_reproduce_command(program, action);
  try {
    program.parse(argc, argv);
  } catch (const CLI::Success& done) {  // --help, --version
    std::ostringstream text;
    const int code = program.exit(done, text, text);
    print_result(text.str());
    return code;
  } catch (const CLI::ParseError& error) {
    return report(usage_message(program, error), ErrorKind::usage);
  }
  refuse_leftovers(program);
  if (!action) {
    static_cast<void>(write_all(STDERR_FILENO, program.help()));
    return static_cast<int>(ErrorKind::usage);
  }
  return action();
}

/// Fills descriptors 0 to 2 where the caller closed them: the next file opened would otherwise take the place
/// of stdout or stderr and be written into. Results on a stdout that was closed still fail: it opens for
/// reading.
void fill_standard_descriptors() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(descriptor, F_GETFD) < 0)
      static_cast<void>(::open("/dev/null", descriptor == STDERR_FILENO ? O_WRONLY : O_RDONLY));
}

/// OpenMP's threads wait for each other by spinning unless told otherwise before the program begins. Beside
/// other work on the same cores a spinning thread keeps the one it waits for from running, and a step takes
/// several times as long; on a quiet machine sleeping costs nothing that can be measured. So a command
/// starts itself again with the environment that OpenMP reads, unless its user has chosen.
void wait_passively(int argc, char** argv) {
  const bool computes = argc > 1 && argv[1][0] != '-';
  if (!computes || std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr)
    return;
  if (::setenv("OMP_WAIT_POLICY", "passive", 1) == 0) ::execv("/proc/self/exe", argv);
  // Without /proc the program goes on as it is.
}

}  // namespace

}  // namespace zeroth::app

int main(int argc, char** argv) {
  using zeroth::ErrorKind;
  zeroth::app::wait_passively(argc, argv);
  zeroth::app::fill_standard_descriptors();
  // A reader that goes away and a file size limit are errors to report, not reasons to die.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    return zeroth::app::run(argc, argv);
  } catch (const zeroth::Error& error) {
    return zeroth::app::report(error.what(), error.kind());
  } catch (const std::bad_alloc&) {
    return zeroth::app::report("out of memory on the host", ErrorKind::runtime);
  } catch (const std::exception& error) {
    return zeroth::app::report(error.what(), ErrorKind::runtime);
  }
}
