#pragma once

// Streams of the host that runs kernels: work runs when it is queued, unless it is captured or put off.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

namespace zeroth::simt {

using Work = std::function<void()>;

class WorkQueue;
struct Capture;

/// While one lives, this thread's simt devices compute nothing: what is queued is forgotten, and device
/// memory is address space that nobody may touch, so that there is as much of it as is asked for. All that
/// goes on is bookkeeping: what a training would allocate is learned without training. Make it before the
/// Context, so that it goes last.
class DryRun {
 public:
  DryRun();
  ~DryRun();
  DryRun(const DryRun&) = delete;
  DryRun& operator=(const DryRun&) = delete;

  static bool active();
  /// Throws OutOfMemory where the address space has no such room.
  static void* reserve(std::size_t bytes);
  static void give_back(void* data) noexcept;
};

/// Work that was captured, in an order in which it may run.
struct Graph {
  std::vector<Work> work;
};

/// A point of a queue.
struct Event {
  std::weak_ptr<WorkQueue> queue;
  std::size_t number = 0;  ///< of the last work before it
  std::uint64_t capture = 0;
  std::chrono::steady_clock::time_point time;
};

/// A stream. Of the main one, work runs at once. Of a side stream it runs, or goes into the capture, when
/// another stream or the host waits for it, and not before: of all orders that streams allow the one in which
/// every missing wait, and every tensor that was released too early, shows. One thread uses a queue.
class WorkQueue : public std::enable_shared_from_this<WorkQueue> {
 public:
  explicit WorkQueue(bool side) : side_(side) {}

  /// The queue behind a stream's handle.
  static WorkQueue& of(void* handle) { return **static_cast<std::shared_ptr<WorkQueue>*>(handle); }

  /// Whether work may run without being queued.
  bool immediate() const { return !side_ && capture_ == nullptr && !DryRun::active(); }
  bool capturing() const { return capture_ != nullptr; }
  void add(Work work);
  /// The host waits for everything.
  void synchronize();
  void record(Event& event);
  /// What is queued later waits for the event. A stream that waits for captured work is captured with it.
  void wait(const Event& event);

  void begin_capture();
  std::unique_ptr<Graph> end_capture();

  /// The host waits for an event.
  static void wait_on_host(const Event& event);
  /// Throws Error(runtime) and spoils the capture where this thread captures.
  static void refuse_in_capture(const char* what);
  /// Spoils this thread's capture, if there is one: for calls that cannot throw.
  static void spoil_capture(const char* what) noexcept;

 private:
  void run_until(std::size_t number);
  void pass_on(Work work);

  bool side_;
  std::deque<Work> put_off_;
  std::size_t queued_ = 0;  // numbers of work
  std::shared_ptr<Capture> capture_;
};

}  // namespace zeroth::simt
