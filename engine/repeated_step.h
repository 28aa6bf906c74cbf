#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "kernels/core/context.h"

namespace zeroth {

/// eager: each step is queued operation by operation. planned: so that its tensors lie where those of the
/// step before lay, in one block (arena.h). captured: the planned step is captured once, and launched as a
/// whole.
enum class StepMode : std::uint8_t { eager, planned, captured };
const char* name_of(StepMode mode);

/// Work that is queued again and again, the same each time: a training step. All modes compute the same bits.
/// The first run is eager (it warms up: scratch memory grows, libraries make their plans), the second is
/// recorded, the third captured; what the wish or the device rules out is left out. Where a step departs from
/// its plan or cannot be captured, the runs go on in the best mode there is, and notice() says why. A setting
/// of the Context that changes begins all this anew.
class RepeatedStep {
 public:
  /// `why_no_capture`: what in the work itself rules a capture out; empty where nothing does.
  RepeatedStep(Context& context, StepMode wanted, std::string why_no_capture = "")
      : context_(context), wanted_(wanted), why_no_capture_(std::move(why_no_capture)) {}
  ~RepeatedStep();
  RepeatedStep(const RepeatedStep&) = delete;
  RepeatedStep& operator=(const RepeatedStep&) = delete;

  /// Queues the step once. `queue` queues it operation by operation; it may be called twice where a capture
  /// fails, of which nothing has run then. What it allocates it also releases. It is not called where a graph
  /// is launched, so what changes between runs is read from device memory.
  void run(const std::function<void()>& queue);

  /// How the last run was queued.
  StepMode mode() const { return mode_; }
  /// One line that says why the mode is not the wanted one; empty where it is, or is to be yet.
  const std::string& notice() const { return notice_; }

 private:
  void begin_anew();
  void run_by_hand(const std::function<void()>& queue, int number);
  void record(const std::function<void()>& queue);
  bool replay(const std::function<void()>& queue);
  void capture(const std::function<void()>& queue);
  void drop_plan();
  void settle_for(StepMode mode, const std::string& why);

  Context& context_;
  StepMode wanted_, mode_ = StepMode::eager;
  std::string why_no_capture_;
  std::string notice_;
  int runs_ = 0;            // since the beginning
  bool owns_plan_ = false;  // the allocator's
  std::uint64_t settings_ = 0;
  StepMode possible_ = StepMode::captured;
  std::optional<CapturedGraph> graph_;
  std::shared_ptr<const void> scratch_;  // what the graph's kernels use
};

}  // namespace zeroth
