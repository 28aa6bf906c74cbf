#pragma once

namespace zeroth {

/// Names what is queued while it lives, for profilers (Nsight Systems) and for an observer: a phase of a
/// training step, or an operation with the row that serves it as a range of its own inside. Costs a call or
/// two when nobody listens.
class ProfileRange {
 public:
  explicit ProfileRange(const char* name, const char* row = nullptr);
  ~ProfileRange();
  ProfileRange(const ProfileRange&) = delete;
  ProfileRange& operator=(const ProfileRange&) = delete;

 private:
  int depth_;
};

/// Told of this thread's ranges while it lives: for measurements from within the program. One at a time in a
/// thread.
class RangeObserver {
 public:
  RangeObserver();
  virtual ~RangeObserver();
  RangeObserver(const RangeObserver&) = delete;
  RangeObserver& operator=(const RangeObserver&) = delete;

  /// `row` is null for a phase. Ranges nest.
  virtual void begin(const char* name, const char* row) = 0;
  virtual void end() = 0;
};

}  // namespace zeroth
