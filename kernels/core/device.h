#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

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

/// An in-order queue of work: a cudaStream_t on CUDA, null where work is done before a call returns.
struct Stream {
  void* handle = nullptr;
};

/// Memory and ordering of one kind of device. Host pointers passed to the asynchronous copies must stay valid
/// until the stream has been synchronised.
class DeviceBackend {
 public:
  virtual ~DeviceBackend() = default;
  virtual Stream create_stream(int device_index) const = 0;
  virtual void destroy_stream(Stream stream) const noexcept = 0;
  /// 256-byte aligned. Throws Error(runtime) naming the size when memory is exhausted.
  virtual void* allocate(int device_index, std::size_t bytes) const = 0;
  virtual void release(int device_index, void* data) const noexcept = 0;
  virtual void fill_zero(void* data, std::size_t bytes, Stream stream) const = 0;
  virtual void copy_to_device(void* device, const void* host, std::size_t bytes, Stream stream) const = 0;
  virtual void copy_to_host(void* host, const void* device, std::size_t bytes, Stream stream) const = 0;
  virtual void copy_on_device(void* to, const void* from, std::size_t bytes, Stream stream) const = 0;
  virtual void synchronize(Stream stream) const = 0;
};

/// The backend of a kind. Throws Error(device), saying why, where this build or machine has none.
const DeviceBackend& backend(DeviceKind kind);

}  // namespace zeroth
