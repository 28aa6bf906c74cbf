#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "kernels/core/device.h"

// Owners of what a DeviceBackend hands out. They move, do not copy, and never throw on destruction: a device
// that has failed, or a driver that is already gone when the program ends, is no reason to end it otherwise.

namespace zeroth {

class OwnedStream {
 public:
  enum class Kind : std::uint8_t { main, side };

  OwnedStream(const DeviceBackend& backend, int device_index, Kind kind = Kind::main)
      : backend_(&backend),
        stream_(kind == Kind::side ? backend.create_side_stream(device_index)
                                   : backend.create_stream(device_index)) {}
  ~OwnedStream() { backend_->destroy_stream(stream_); }
  OwnedStream(const OwnedStream&) = delete;
  OwnedStream& operator=(const OwnedStream&) = delete;

  Stream get() const { return stream_; }
  void set_synchronous(bool synchronous) { stream_.synchronous = synchronous; }

 private:
  const DeviceBackend* backend_;
  Stream stream_;
};

/// A point of a stream, for waiting and for timing.
class Event {
 public:
  Event(const DeviceBackend& backend, int device_index)
      : backend_(&backend), event_(backend.create_event(device_index)) {}
  ~Event() {
    if (event_ != nullptr) backend_->destroy_event(event_);
  }
  Event(Event&& other) noexcept : backend_(other.backend_), event_(std::exchange(other.event_, nullptr)) {}
  Event& operator=(Event&&) = delete;

  /// Marks the end of what is queued on the stream now. The stream and the event belong to one device.
  void record(Stream stream) { backend_->record_event(event_, stream); }
  /// The host waits until the stream has come to the mark; at once where none was set.
  void wait() const { backend_->wait_for_event(event_); }
  /// Later work of `stream` waits for the mark.
  void queue_wait(Stream stream) const { backend_->queue_wait(stream, event_); }
  /// Time from an earlier mark to this one. Both must have been passed.
  double milliseconds_since(const Event& begin) const {
    return backend_->milliseconds_between(begin.event_, event_);
  }

 private:
  const DeviceBackend* backend_;
  void* event_;
};

/// Work that was captured once and is launched as a whole. What its kernels read and write must stay where it
/// is.
class CapturedGraph {
 public:
  /// Captures what `queue` queues on the stream, and on streams forked from it and joined again. Nothing of
  /// it has run then. Throws Error(runtime) where the backend cannot, and what `queue` throws; the stream
  /// captures no more then.
  template <class Queue>
  CapturedGraph(const DeviceBackend& backend, Stream stream, Queue&& queue) : backend_(&backend) {
    backend.begin_capture(stream);
    try {
      queue();
    } catch (...) {
      abandon(stream);
      throw;
    }
    graph_ = backend.end_capture(stream);
  }
  ~CapturedGraph() {
    if (graph_ != nullptr) backend_->destroy_graph(graph_);
  }
  CapturedGraph(CapturedGraph&& other) noexcept
      : backend_(other.backend_), graph_(std::exchange(other.graph_, nullptr)) {}
  CapturedGraph& operator=(CapturedGraph&&) = delete;

  void launch(Stream stream) const { backend_->launch_graph(graph_, stream); }

 private:
  void abandon(Stream stream) const noexcept {
    try {
      backend_->destroy_graph(backend_->end_capture(stream));
    } catch (...) {  // spoilt, as was to be expected
    }
  }

  const DeviceBackend* backend_;
  void* graph_ = nullptr;
};

/// A block of device memory.
class DeviceMemory {
 public:
  DeviceMemory(const DeviceBackend& backend, int device_index, std::size_t bytes)
      : backend_(&backend), device_index_(device_index), data_(backend.allocate(device_index, bytes)) {}
  ~DeviceMemory() {
    if (data_ != nullptr) backend_->release(device_index_, data_);
  }
  DeviceMemory(DeviceMemory&& other) noexcept
      : backend_(other.backend_),
        device_index_(other.device_index_),
        data_(std::exchange(other.data_, nullptr)) {}
  DeviceMemory& operator=(DeviceMemory&&) = delete;

  void* data() const { return data_; }

 private:
  const DeviceBackend* backend_;
  int device_index_;
  void* data_;
};

/// Pinned host memory.
class PinnedMemory {
 public:
  PinnedMemory(const DeviceBackend& backend, int device_index, std::size_t bytes)
      : backend_(&backend),
        bytes_(static_cast<std::byte*>(backend.allocate_pinned(device_index, bytes)), bytes) {}
  ~PinnedMemory() { backend_->release_pinned(bytes_.data()); }
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;

  std::span<std::byte> bytes() const { return bytes_; }

 private:
  const DeviceBackend* backend_;
  std::span<std::byte> bytes_;
};

}  // namespace zeroth
