#pragma once

namespace zeroth {

/// Names what is queued while it lives, for profilers (Nsight Systems): a phase of a training step, or an
/// operation with the row that serves it as a range of its own inside. Costs a call when no profiler listens.
class ProfileRange {
 public:
  explicit ProfileRange(const char* name, const char* row = nullptr);
  ~ProfileRange();
  ProfileRange(const ProfileRange&) = delete;
  ProfileRange& operator=(const ProfileRange&) = delete;

 private:
  int depth_;
};

}  // namespace zeroth
