#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace zeroth {

/// What a child process may take.
struct ChildLimits {
  std::uint64_t memory = std::uint64_t{1} << 31;  ///< bytes of addresses beyond those it began with
  std::chrono::seconds answer{120};               ///< for one answer
};

/// A child process gave no answer. what() is a predicate: "ended with signal 11 (Segmentation fault)".
class ChildFailed : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A child process that answers questions, for code of others (decoders of pictures, archives, packed bytes)
/// that handles bytes of strangers: what it overwrites, exhausts or never ends stays in the child.
///
/// The child is a copy of this process without its threads and open files (stdin, stdout and stderr stay),
/// with limited memory, no core dump, and deaf to the signals by which a user ends a program: it ends with
/// this object or with this process. The answer's own code may allocate and throw, but start no threads and
/// use no device.
class ChildProcess {
 public:
  using Bytes = std::vector<std::uint8_t>;
  using Answer = std::function<Bytes(std::span<const std::uint8_t> question)>;

  explicit ChildProcess(Answer answer, ChildLimits limits = {});
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  /// The child's answer. The first question starts the child; so does the first after a failure, with an
  /// `answer` that has seen no question. Throws Error as `answer` threw it; ChildFailed where the child
  /// ended, took more memory or time than it may, or threw something else; Error(runtime) where no child can
  /// be started.
  Bytes ask(std::span<const std::uint8_t> question);

 private:
  void start();
  void end() noexcept;
  [[noreturn]] void fail_ended(bool too_late);

  Answer answer_;
  ChildLimits limits_;
  pid_t process_ = -1;
  int socket_ = -1;
};

}  // namespace zeroth
