#include "apps/stop_signal.h"

#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

namespace zeroth::app {

namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGUSR1};

volatile std::sig_atomic_t first_signal = 0, interrupted = 0;
volatile std::sig_atomic_t on_terminal = 0;  // a redrawn line stands there

/// Only write(2) and what is as simple may be called in a signal handler; a line that is lost harms nobody.
void tell(const char* text) {
  if (::write(STDERR_FILENO, text, std::strlen(text)) < 0) return;
}

void note_signal(int signal) {
  const int error = errno;
  if (signal == SIGINT && interrupted != 0) {
    tell("SIGINT again: leaving at once, as of the last checkpoint\n");
    ::_exit(128 + SIGINT);
  }
  if (first_signal == 0) {
    if (on_terminal != 0) tell("\r\x1b[K");
    tell(StopSignal::name_of(signal));
    tell(": finishing the step, then saving; SIGINT ");
    tell(signal == SIGINT ? "again leaves at once\n" : "twice leaves at once\n");
    first_signal = signal;
  }
  if (signal == SIGINT) interrupted = 1;
  errno = error;
}

}  // namespace

StopSignal::StopSignal() {
  first_signal = 0;
  interrupted = 0;
  on_terminal = ::isatty(STDERR_FILENO);
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
