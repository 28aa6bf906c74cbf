#pragma once

#include <filesystem>

namespace zeroth::app {

/// The right to write a run folder, for as long as this lives: flock(2) on its file .lock. The system gives
/// the lock back when a process ends, however it ends. The holder removes temporary files of writers that
/// died.
class RunLock {
 public:
  /// `folder` exists. Throws Error(runtime) where another process writes to it, or the file cannot be made.
  /// On file systems without locks nothing is claimed.
  explicit RunLock(const std::filesystem::path& folder);
  ~RunLock();
  RunLock(RunLock&& other) noexcept;
  RunLock& operator=(RunLock&&) = delete;

  static constexpr const char* kFile = ".lock";

 private:
  int descriptor_;
};

}  // namespace zeroth::app
