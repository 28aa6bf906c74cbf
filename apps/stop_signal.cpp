#include "apps/stop_signal.h"

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace zeroth::app {

namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGUSR1};

// Two threads may take two signals at the same time.
std::atomic<int> first_signal = 0, interrupts = 0;
std::atomic<bool> on_terminal = false;  // a redrawn line stands there
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

/// Only write(2) and what is as simple may be called in a signal handler; a line that is lost harms nobody.
void tell(const char* text) {
  if (::write(STDERR_FILENO, text, std::strlen(text)) < 0) return;
}

void note_signal(int signal) {
  const int error = errno;
  if (signal == SIGINT && interrupts.fetch_add(1) > 0) {
    tell("SIGINT again: leaving at once, as of the last checkpoint\n");
    ::_exit(128 + SIGINT);
  }
  int none = 0;
  if (first_signal.compare_exchange_strong(none, signal)) {
    if (on_terminal) tell("\r\x1b[K");
    tell(StopSignal::name_of(signal));
    tell(signal == SIGINT ? ": finishing the step, then saving; SIGINT again leaves at once\n"
                          : ": finishing the step, then saving; SIGINT twice leaves at once\n");
  }
  errno = error;
}

}  // namespace

StopSignal::StopSignal() {
  first_signal = 0;
  interrupts = 0;
  on_terminal = ::isatty(STDERR_FILENO) == 1;
  struct sigaction action {};
  action.sa_handler = note_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (const int signal : kSignals) sigaddset(&action.sa_mask, signal);
  for (const int signal : kSignals) sigaction(signal, &action, nullptr);
}

StopSignal::~StopSignal() {
  for (const int signal : kSignals) std::signal(signal, SIG_DFL);
}

int StopSignal::received() {
  return first_signal;
}

const char* StopSignal::name_of(int signal) {
  return signal == SIGINT ? "SIGINT" : signal == SIGTERM ? "SIGTERM" : "SIGUSR1";
}

}  // namespace zeroth::app
