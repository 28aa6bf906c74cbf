#pragma once

namespace zeroth::app {

/// Turns SIGINT, SIGTERM and SIGUSR1 into a flag for as long as it lives, and tells at once, on stderr, that
/// the training will end. A second SIGINT ends the process on the spot, with exit code 130; the others may
/// come as often as they like, as batch systems and service managers send them.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  /// The first signal that came, or 0.
  static int received();
  /// "SIGINT"
  static const char* name_of(int signal);
};

}  // namespace zeroth::app
