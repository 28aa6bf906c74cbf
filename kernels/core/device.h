#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/core/error.h"

namespace zeroth {

/// cpu: fast host code. simt: the CUDA kernels, run on the host by kernels/simt. cuda: a GPU.
enum class DeviceKind : std::uint8_t { cpu, simt, cuda };

struct Device {
  DeviceKind kind = DeviceKind::cpu;
  int index = 0;

  bool operator==(const Device&) const = default;
};

const char* name_of(DeviceKind kind);

/// "cpu", "simt", "cuda" or "cuda:N". Throws Error(usage) otherwise.
Device parse_device(const std::string& text);

/// An in-order queue of work on one device: a cudaStream_t on CUDA, null where work is done before a call
/// returns. A handle; OwnedStream owns one.
struct Stream {
  void* handle = nullptr;
  int device = 0;  ///< index of the device that it belongs to
  bool synchronous =
      false;  ///< wait after every piece of work, so that a fault names the kernel it came from
};

/// Memory, order and time of one kind of device. Each call makes the device current that it is about, so that
/// one thread may use several. Host pointers passed to the asynchronous copies must stay valid until the
/// stream has been synchronised. Owners of what is handed out here are in device_resources.h.
class DeviceBackend {
 public:
  virtual ~DeviceBackend() = default;
  /// Makes a device current for this thread, as libraries that take no device expect.
  virtual void activate(int device_index) const = 0;

  /// Throws Error(device) where there is no such device, or its kernels were not compiled.
  virtual Stream create_stream(int device_index) const = 0;
  /// A stream for work beside that of another one. simt puts its work off until somebody waits for it, so
  /// that a wait that is missing shows in the results.
  virtual Stream create_side_stream(int device_index) const { return create_stream(device_index); }
  virtual void destroy_stream(Stream stream) const noexcept = 0;
  /// Waits until the work queued on a stream is done. Throws Error(runtime) when any of it failed.
  virtual void synchronize(Stream stream) const = 0;

  /// 256-byte aligned. Throws Error(runtime) naming the size when memory is exhausted.
  virtual void* allocate(int device_index, std::size_t bytes) const = 0;
  virtual void release(int device_index, void* data) const noexcept = 0;
  /// Host memory that the device copies from and to without a detour. Throws Error(runtime).
  virtual void* allocate_pinned(int device_index, std::size_t bytes) const = 0;
  virtual void release_pinned(void* data) const noexcept = 0;

  virtual void fill_zero(void* data, std::size_t bytes, Stream stream) const = 0;
  virtual void copy_to_device(void* device, const void* host, std::size_t bytes, Stream stream) const = 0;
  virtual void copy_to_host(void* host, const void* device, std::size_t bytes, Stream stream) const = 0;
  virtual void copy_on_device(void* to, const void* from, std::size_t bytes, Stream stream) const = 0;

  /// An event marks a point of a stream.
  virtual void* create_event(int device_index) const = 0;
  virtual void destroy_event(void* event) const noexcept = 0;
  virtual void record_event(void* event, Stream stream) const = 0;
  /// The host waits until the stream has passed the event; at once where it was never recorded.
  virtual void wait_for_event(void* event) const = 0;
  /// Later work of the stream waits for the event; the host does not.
  virtual void queue_wait(Stream stream, void* event) const = 0;
  /// Milliseconds between two recorded events that have been passed.
  virtual double milliseconds_between(void* begin, void* end) const = 0;

  // Capture: what a thread queues on a stream, and on streams that wait for its events, is recorded instead
  // of run, with its addresses and arguments as they are, and can be launched as a whole, again and again.
  // While a thread captures, it may not wait for the work, allocate or free memory, or copy from or to the
  // host: such calls throw Error(runtime) and may spoil the capture. CapturedGraph (device_resources.h) owns
  // the result.

  /// Empty where work can be captured; else why not.
  virtual std::string why_no_capture() const = 0;
  /// Throws Error(runtime) where the stream is captured already, or nothing can be captured.
  virtual void begin_capture(Stream stream) const = 0;
  /// Whether what is queued on the stream is being captured.
  virtual bool is_capturing(Stream stream) const = 0;
  /// Ends the capture that was begun on this stream, in any case, and makes the graph ready to launch. Throws
  /// Error(runtime) where none was begun, it was spoilt, or another stream was drawn in and not waited for.
  virtual void* end_capture(Stream stream) const = 0;
  /// Queues all work of the graph. Throws Error(runtime) on a stream that is being captured.
  virtual void launch_graph(void* graph, Stream stream) const = 0;
  virtual void destroy_graph(void* graph) const noexcept = 0;

  /// Bytes of the last cache before memory; 0 where the system does not say. Measurements go through more
  /// than that.
  virtual std::size_t cache_bytes(int device_index) const = 0;
};

/// Throws Error(runtime): `what` ("a read-back") was tried while work is captured.
[[noreturn]] inline void fail_in_capture(const std::string& what) {
  fail(ErrorKind::runtime,
       what +
           " while work is captured: a step that is being captured neither allocates, waits, "
           "nor copies from or to the host");
}

/// The backend of a kind. Throws Error(device), saying why, where this build or machine has none.
const DeviceBackend& backend(DeviceKind kind);

/// One GPU of this machine.
struct GpuReport {
  std::string name;
  int major = 0, minor = 0;  ///< compute capability
  std::size_t memory = 0;    ///< bytes
  int multiprocessors = 0;
  std::string missing;  ///< why it cannot be used; empty where it can
};

/// What this machine and this build have of CUDA.
struct CudaReport {
  std::string runtime;  ///< version that this program was compiled with; empty in a build without CUDA
  std::string driver;   ///< newest version that the driver serves; empty without a driver
  std::vector<GpuReport> gpus;
  std::string missing;  ///< why no GPU can be used, and what to do; empty where one can
};

/// Asks driver and devices. Never throws for what is missing: it says so.
CudaReport report_cuda();

}  // namespace zeroth
