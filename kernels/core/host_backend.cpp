#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>

#include "kernels/core/cuda_device.h"
#include "kernels/core/error.h"
#include "kernels/core/free_memory.h"
#include "kernels/simt/stream.h"

namespace zeroth {

namespace {

[[noreturn]] void fail_without_memory(std::size_t bytes, std::size_t free) {
  throw OutOfMemory("out of memory on the host: " + std::to_string(bytes) + " bytes were asked for, " +
                    std::to_string(free) + " are free");
}

/// The cpu: work is done when a call returns, so streams are null and copies are plain.
class HostBackend : public DeviceBackend {
 public:
  void activate(int) const override {}
  Stream create_stream(int) const override { return {}; }
  void destroy_stream(Stream) const noexcept override {}
  void synchronize(Stream) const override {}
  void* allocate(int, std::size_t bytes) const override { return host_memory(bytes); }
  /// Large blocks ask for huge pages: a deep network's activations are more 4 KB pages than a processor's
  /// table of recent ones has entries.
  static void* host_memory(std::size_t bytes) {
    constexpr std::size_t kHugePage = std::size_t{2} << 20;
    const bool huge = bytes >= 2 * kHugePage;
    // Linux promises memory that it has not, and ends the process that touches it; and oneDNN crashes where
    // none is left for what it takes itself.
    if (huge) {
      constexpr std::size_t kOfLibraries = std::size_t{32} << 20;
      const std::size_t free = free_host_memory(), ours = free > kOfLibraries ? free - kOfLibraries : 0;
      if (bytes > ours) fail_without_memory(bytes, ours);
    }
    const std::size_t alignment = huge ? kHugePage : 256;
    void* data = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    if (data == nullptr) fail_without_memory(bytes, free_host_memory());
    if (huge) ::madvise(data, bytes, MADV_HUGEPAGE);  // a wish: where it is refused, nothing is lost
    return data;
  }
  void release(int, void* data) const noexcept override { std::free(data); }
  void* allocate_pinned(int, std::size_t bytes) const override { return host_memory(bytes); }
  void release_pinned(void* data) const noexcept override { std::free(data); }
  void fill_zero(void* data, std::size_t bytes, Stream) const override {
    if (bytes > 0) std::memset(data, 0, bytes);
  }
  void copy_to_device(void* to, const void* from, std::size_t bytes, Stream) const override {
    copy(to, from, bytes);
  }
  void copy_to_host(void* to, const void* from, std::size_t bytes, Stream) const override {
    copy(to, from, bytes);
  }
  void copy_on_device(void* to, const void* from, std::size_t bytes, Stream) const override {
    copy(to, from, bytes);
  }
  // Work is done when it is queued, so an event is the time at which it was recorded.
  void* create_event(int) const override { return new Clock::time_point(); }
  void destroy_event(void* event) const noexcept override { delete time_of(event); }
  void record_event(void* event, Stream) const override { *time_of(event) = Clock::now(); }
  void wait_for_event(void*) const override {}
  void queue_wait(Stream, void*) const override {}
  double milliseconds_between(void* begin, void* end) const override {
    return std::chrono::duration<double, std::milli>(*time_of(end) - *time_of(begin)).count();
  }
  std::size_t cache_bytes(int) const override {
    for (const int level : {_SC_LEVEL4_CACHE_SIZE, _SC_LEVEL3_CACHE_SIZE, _SC_LEVEL2_CACHE_SIZE})
      if (const long bytes = ::sysconf(level); bytes > 0) return static_cast<std::size_t>(bytes);
    return 0;
  }

  std::string why_no_capture() const override {
    return "the CPU's work is done when it is queued, and cannot be captured";
  }
  void begin_capture(Stream) const override { fail(ErrorKind::runtime, why_no_capture()); }
  bool is_capturing(Stream) const override { return false; }
  void* end_capture(Stream) const override { fail(ErrorKind::runtime, "a capture ends that was not begun"); }
  void launch_graph(void*, Stream) const override { fail(ErrorKind::runtime, why_no_capture()); }
  void destroy_graph(void*) const noexcept override {}

 private:
  using Clock = std::chrono::steady_clock;
  static Clock::time_point* time_of(void* event) { return static_cast<Clock::time_point*>(event); }

  /// An empty tensor has no address, which memcpy may not be given.
  static void copy(void* to, const void* from, std::size_t bytes) {
    if (bytes > 0) std::memcpy(to, from, bytes);
  }
};

/// The host that runs CUDA kernels: its memory is the host's, its streams can be captured, and those beside
/// others put their work off (kernels/simt/stream.h).
class SimtBackend final : public HostBackend {
 public:
  Stream create_stream(int) const override { return stream_of(false); }
  Stream create_side_stream(int) const override { return stream_of(true); }
  void destroy_stream(Stream stream) const noexcept override {
    delete static_cast<std::shared_ptr<simt::WorkQueue>*>(stream.handle);
  }
  void synchronize(Stream stream) const override {
    if (stream.handle != nullptr) queue_of(stream).synchronize();
  }

  void* allocate(int device_index, std::size_t bytes) const override {
    simt::WorkQueue::refuse_in_capture("an allocation");
    if (simt::DryRun::active()) return simt::DryRun::reserve(bytes);
    return HostBackend::allocate(device_index, bytes);
  }
  void release(int device_index, void* data) const noexcept override {
    simt::WorkQueue::spoil_capture("a release of memory");
    if (simt::DryRun::active()) return simt::DryRun::give_back(data);
    HostBackend::release(device_index, data);
  }

  void fill_zero(void* data, std::size_t bytes, Stream stream) const override {
    add(stream, [this, data, bytes] { HostBackend::fill_zero(data, bytes, {}); });
  }
  void copy_to_device(void* to, const void* from, std::size_t bytes, Stream stream) const override {
    simt::WorkQueue::refuse_in_capture("a copy from the host");
    copy_on_device(to, from, bytes, stream);
  }
  void copy_to_host(void* to, const void* from, std::size_t bytes, Stream stream) const override {
    simt::WorkQueue::refuse_in_capture("a copy to the host");
    copy_on_device(to, from, bytes, stream);
  }
  void copy_on_device(void* to, const void* from, std::size_t bytes, Stream stream) const override {
    add(stream, [this, to, from, bytes] { HostBackend::copy_on_device(to, from, bytes, {}); });
  }

  void* create_event(int) const override { return new simt::Event(); }
  void destroy_event(void* event) const noexcept override { delete &event_of(event); }
  void record_event(void* event, Stream stream) const override { queue_of(stream).record(event_of(event)); }
  void wait_for_event(void* event) const override { simt::WorkQueue::wait_on_host(event_of(event)); }
  void queue_wait(Stream stream, void* event) const override { queue_of(stream).wait(event_of(event)); }
  double milliseconds_between(void* begin, void* end) const override {
    return std::chrono::duration<double, std::milli>(event_of(end).time - event_of(begin).time).count();
  }

  std::string why_no_capture() const override { return ""; }
  void begin_capture(Stream stream) const override { queue_of(stream).begin_capture(); }
  bool is_capturing(Stream stream) const override {
    return stream.handle != nullptr && queue_of(stream).capturing();
  }
  void* end_capture(Stream stream) const override {
    return new std::shared_ptr<simt::Graph>(queue_of(stream).end_capture());
  }
  void launch_graph(void* graph, Stream stream) const override {
    simt::WorkQueue::refuse_in_capture("a launch of a graph");
    add(stream, [graph = *static_cast<std::shared_ptr<simt::Graph>*>(graph)] {
      for (const simt::Work& work : graph->work) work();
    });
  }
  void destroy_graph(void* graph) const noexcept override {
    delete static_cast<std::shared_ptr<simt::Graph>*>(graph);
  }

 private:
  static Stream stream_of(bool side) {
    return {new std::shared_ptr<simt::WorkQueue>(std::make_shared<simt::WorkQueue>(side)), 0, false};
  }
  static simt::WorkQueue& queue_of(Stream stream) { return simt::WorkQueue::of(stream.handle); }
  static simt::Event& event_of(void* event) { return *static_cast<simt::Event*>(event); }

  template <class Body>
  static void add(Stream stream, Body&& body) {
    if (stream.handle == nullptr || queue_of(stream).immediate())
      body();
    else
      queue_of(stream).add(std::forward<Body>(body));
  }
};

}  // namespace

const DeviceBackend& backend(DeviceKind kind) {
  static const HostBackend cpu;
  static const SimtBackend simt;
  switch (kind) {
    case DeviceKind::cpu:
      return cpu;
    case DeviceKind::simt:
      return simt;
    case DeviceKind::cuda:
      return cuda_native::device_backend();
  }
  fail(ErrorKind::usage, "no such kind of device");
}

}  // namespace zeroth
