#include "kernels/simt/stream.h"

#include <algorithm>
#include <string>
#include <utility>

#include "kernels/core/device.h"
#include "kernels/core/error.h"

namespace zeroth::simt {

struct Capture {
  std::uint64_t id;
  WorkQueue* origin;
  std::vector<std::shared_ptr<WorkQueue>> drawn_in;
  Graph graph;
  const char* spoilt_by = nullptr;
};

namespace {

// Of this thread: its one capture, and how many there have been.
thread_local Capture* active = nullptr;
thread_local std::uint64_t captures = 0;
// Where this thread's dry run puts its next block; 0 without one. No processor takes such addresses.
constexpr std::uintptr_t kNowhere = std::uintptr_t{1} << 62;
constexpr std::uintptr_t kPage = std::uintptr_t{1} << 21;
thread_local std::uintptr_t next_block = 0;

[[noreturn]] void refuse(const char* why) {
  fail(ErrorKind::runtime, std::string("simt: ") + why);
}

}  // namespace

DryRun::DryRun() {
  require(!active(), "a dry run begins in a dry run");
  next_block = kNowhere;
}

DryRun::~DryRun() {
  next_block = 0;
}

bool DryRun::active() {
  return next_block != 0;
}

void* DryRun::reserve(std::size_t bytes) {
  if (bytes > kNowhere - (next_block - kNowhere) - kPage)
    throw OutOfMemory("out of address space: " + std::to_string(bytes) + " bytes were asked for");
  const std::uintptr_t block = next_block;
  next_block += (std::max<std::uintptr_t>(bytes, 1) + kPage - 1) / kPage * kPage;
  return reinterpret_cast<void*>(block);
}

void DryRun::give_back(void*) noexcept {}

void WorkQueue::pass_on(Work work) {
  if (capture_)
    capture_->graph.work.push_back(std::move(work));
  else
    work();
}

void WorkQueue::add(Work work) {
  if (DryRun::active()) return;
  ++queued_;
  if (side_)
    put_off_.push_back(std::move(work));
  else
    pass_on(std::move(work));
}

void WorkQueue::run_until(std::size_t number) {
  while (!put_off_.empty() && queued_ - put_off_.size() < number) {
    Work work = std::move(put_off_.front());
    put_off_.pop_front();
    pass_on(std::move(work));
  }
}

void WorkQueue::synchronize() {
  if (capture_) refuse_in_capture("a wait for the stream");
  run_until(queued_);
}

void WorkQueue::record(Event& event) {
  event = {weak_from_this(), queued_, capture_ ? capture_->id : 0, std::chrono::steady_clock::now()};
}

void WorkQueue::wait(const Event& event) {
  const std::shared_ptr<WorkQueue> other = event.queue.lock();
  if (!other) return;
  const std::uint64_t here = capture_ ? capture_->id : 0;
  if (event.capture != here) {
    if (here != 0) {
      capture_->spoilt_by = "a wait for work outside the capture";
      refuse("work that is captured waits for work outside the capture");
    }
    if (other->capture_ == nullptr || other->capture_->id != event.capture)
      refuse("a wait for an event of a capture that has ended");
    run_until(queued_);
    capture_ = other->capture_;
    capture_->drawn_in.push_back(shared_from_this());
  }
  if (other.get() != this) other->run_until(event.number);
}

void WorkQueue::begin_capture() {
  if (capture_ || active != nullptr) refuse("a capture begins in a capture");
  run_until(queued_);
  capture_ = std::make_shared<Capture>(Capture{++captures, this, {}, {}});
  active = capture_.get();
}

std::unique_ptr<Graph> WorkQueue::end_capture() {
  if (!capture_) refuse("a capture ends that was not begun");
  if (capture_->origin != this) refuse("a capture ends on another stream than it began on");
  const std::shared_ptr<Capture> capture = std::exchange(capture_, nullptr);
  active = nullptr;
  bool joined = true;
  for (const std::shared_ptr<WorkQueue>& queue : capture->drawn_in) {
    joined = joined && queue->put_off_.empty();
    queue->put_off_.clear();
    queue->capture_ = nullptr;
  }
  if (capture->spoilt_by != nullptr) fail_in_capture(capture->spoilt_by);
  if (!joined) refuse("a capture ends before it has waited for all streams that it drew in");
  return std::make_unique<Graph>(std::move(capture->graph));
}

void WorkQueue::wait_on_host(const Event& event) {
  if (const std::shared_ptr<WorkQueue> queue = event.queue.lock()) {
    if (event.capture != 0) {
      refuse_in_capture("a wait for an event");
      refuse("the host waits for an event of a capture");
    }
    if (!queue->capture_) queue->run_until(event.number);
  }
}

void WorkQueue::refuse_in_capture(const char* what) {
  if (active == nullptr) return;
  active->spoilt_by = what;
  fail_in_capture(what);
}

void WorkQueue::spoil_capture(const char* what) noexcept {
  if (active != nullptr) active->spoilt_by = what;
}

}  // namespace zeroth::simt
