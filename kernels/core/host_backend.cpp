#include <cstdlib>
#include <cstring>
#include <string>

#include "kernels/core/device.h"
#include "kernels/core/error.h"

namespace zeroth {

namespace cuda_native {
const DeviceBackend&
device_backend();  // defined in cuda_device.cpp, or in cuda_absent.cpp where CUDA is left out
}

namespace {

/// The memory of cpu and simt: work is done when a call returns, so streams are null and copies are plain.
class HostBackend final : public DeviceBackend {
 public:
  Stream create_stream(int) const override { return {}; }
  void destroy_stream(Stream) const noexcept override {}
  void* allocate(int, std::size_t bytes) const override {
    void* data = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (data == nullptr)
      fail(ErrorKind::runtime, "out of host memory: " + std::to_string(bytes) + " bytes were asked for");
    return data;
  }
  void release(int, void* data) const noexcept override { std::free(data); }
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
  void synchronize(Stream) const override {}

 private:
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
