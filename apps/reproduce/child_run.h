#pragma once

#include <string>
#include <vector>

namespace zeroth::app {

/// How a child process ended.
struct ChildEnd {
  int code = 0;        ///< its exit code, or 128 + the signal that ended it
  std::string output;  ///< what it wrote to stdout
};

/// While this lives, SIGINT and SIGTERM are noted and passed on to the child of run_zeroth().
class SignalRelay {
 public:
  SignalRelay();
  ~SignalRelay();
  SignalRelay(const SignalRelay&) = delete;
  SignalRelay& operator=(const SignalRelay&) = delete;
  /// The signal that came last, or 0.
  static int received();
};

/// Runs this program with these arguments to its end; stderr is shared. In a process of its own a training
/// that runs out of memory or crashes takes nothing else with it. The child is sent SIGTERM, at which a
/// training saves and ends, when this process dies. Throws Error(runtime) where no process can be made.
ChildEnd run_zeroth(const std::vector<std::string>& arguments);

}  // namespace zeroth::app
