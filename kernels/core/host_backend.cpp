#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>

#include "kernels/core/cuda_device.h"
#include "kernels/core/error.h"

namespace zeroth {

namespace {

/// The memory of cpu and simt: work is done when a call returns, so streams are null and copies are plain.
class HostBackend final : public DeviceBackend {
 public:
  void activate(int) const override {}
  Stream create_stream(int) const override { return {}; }
  void destroy_stream(Stream) const noexcept override {}
  void synchronize(Stream) const override {}
  void* allocate(int, std::size_t bytes) const override {
    void* data = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (data == nullptr)
      throw OutOfMemory("out of host memory: " + std::to_string(bytes) + " bytes were asked for");
    return data;
  }
  void release(int, void* data) const noexcept override { std::free(data); }
  void* allocate_pinned(int device_index, std::size_t bytes) const override {
    return allocate(device_index, bytes);
  }
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

 private:
  using Clock = std::chrono::steady_clock;
  static Clock::time_point* time_of(void* event) { return static_cast<Clock::time_point*>(event); }

  /// An empty tensor has no address, which memcpy may not be given.
  static void copy(void* to, const void* from, std::size_t bytes) {
    if (bytes > 0) std::memcpy(to, from, bytes);
  }
};

}  // namespace

const DeviceBackend& backend(DeviceKind kind) {
  static const HostBackend host;
  return kind == DeviceKind::cuda ? cuda_native::device_backend() : host;
}

}  // namespace zeroth
