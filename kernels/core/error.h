#pragma once

#include <stdexcept>
#include <string>

namespace zeroth {

/// What went wrong, in the categories a caller can act on. The value is the program's exit code.
enum class ErrorKind {
  runtime = 1,   ///< the machine or a library failed
  usage = 2,     ///< a wrong argument or configuration
  data = 3,      ///< a data set or checkpoint that is missing or damaged
  device = 4,    ///< no such device here
  peer = 5,      ///< another rank failed
  diverged = 6,  ///< the loss stopped being finite, or a target was missed
};

/// Every failure of zeroth. `what()` is one line that says what, where and how to mend it.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

/// A device or the host has no memory left for a request.
class OutOfMemory : public Error {
 public:
  explicit OutOfMemory(const std::string& message) : Error(ErrorKind::runtime, message) {}
};

[[noreturn]] inline void fail(ErrorKind kind, const std::string& message) {
  throw Error(kind, message);
}

/// Throws Error(usage) unless `condition` holds. For arguments a caller chose; the message is built by the
/// caller, so use it only where building a string on success does no harm.
inline void require(bool condition, const char* message) {
  if (!condition) fail(ErrorKind::usage, message);
}

}  // namespace zeroth
