#include "apps/reproduce/child_run.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "kernels/core/error.h"

namespace zeroth::app {

namespace {

volatile std::sig_atomic_t received_signal = 0;
volatile std::sig_atomic_t child = 0;

void pass_on(int signal) {
  received_signal = signal;
  if (child > 0) ::kill(static_cast<pid_t>(child), signal);
}

/// In the new process: becomes zeroth, or exits.
[[noreturn]] void become_zeroth(std::vector<char*>& arguments, int output, const sigset_t& mask,
                                pid_t parent) {
  // A process group of its own: the terminal's SIGINT reaches it through the relay only, once. A training
  // ends without saving at the second one.
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(143);
  ::dup2(output, STDOUT_FILENO);
  ::sigprocmask(SIG_SETMASK, &mask, nullptr);
  ::execv("/proc/self/exe", arguments.data());
  ::_exit(127);
}

std::string read_all(int descriptor) {
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t count = ::read(descriptor, buffer, sizeof buffer);
    if (count > 0) text.append(buffer, static_cast<std::size_t>(count));
    if (count == 0 || (count < 0 && errno != EINTR)) return text;
  }
}

}  // namespace

SignalRelay::SignalRelay() {
  received_signal = 0;
  struct sigaction action {};
  action.sa_handler = pass_on;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

SignalRelay::~SignalRelay() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

int SignalRelay::received() {
  return received_signal;
}

ChildEnd run_zeroth(const std::vector<std::string>& arguments) {
  std::vector<std::string> words{"zeroth"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    fail(ErrorKind::runtime, fmt::format("cannot make a pipe: {}", std::strerror(errno)));
  // No signal may come between the child's birth and the note of who it is.
  sigset_t both, before;
  sigemptyset(&both);
  sigaddset(&both, SIGINT);
  sigaddset(&both, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &both, &before);
  const pid_t parent = ::getpid(), pid = ::fork();
  if (pid == 0) become_zeroth(pointers, ends[1], before, parent);
  const int error = errno;
  child = pid;
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  ::close(ends[1]);
  if (pid < 0) {
    ::close(ends[0]);
    fail(ErrorKind::runtime, fmt::format("cannot start a process: {}", std::strerror(error)));
  }
  ChildEnd end;
  end.output = read_all(ends[0]);
  ::close(ends[0]);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  child = 0;
  end.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return end;
}

}  // namespace zeroth::app
