#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include "kernels/core/device.h"
#include "kernels/core/error.h"

namespace zeroth::cuda_native {

namespace {

void check(cudaError_t status, const char* expression, const char* file = __builtin_FILE(),
           int line = __builtin_LINE()) {
  if (status != cudaSuccess)
    fail(ErrorKind::runtime,
         fmt::format("{}: {} ({}:{})", expression, cudaGetErrorString(status), file, line));
}

/// Why no CUDA device can be used, or an empty string. A missing driver reports version 0.
std::string why_unavailable() {
  int driver = 0, runtime = 0, count = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  if (driver == 0) return "no CUDA driver: install the NVIDIA driver, or train with --device cpu";
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorInsufficientDriver)
    return fmt::format(
        "the CUDA driver is too old: it serves CUDA {}.{}, this program needs {}.{}; update the driver",
        driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
  if (status != cudaSuccess) return fmt::format("no CUDA device: {}", cudaGetErrorString(status));
  return count > 0 ? "" : "no CUDA device in this machine; train with --device cpu";
}

/// The oldest architecture that kernels are compiled for (see CMAKE_CUDA_ARCHITECTURES): Ampere.
constexpr int kOldestMajor = 8;

/// Memory and streams of NVIDIA GPUs through the CUDA runtime.
class CudaBackend final : public DeviceBackend {
 public:
  CudaBackend() {
    if (const std::string reason = why_unavailable(); !reason.empty()) fail(ErrorKind::device, reason);
  }

  Stream create_stream(int device_index) const override {
    int count = 0;
    check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
    if (device_index >= count)
      fail(ErrorKind::device, fmt::format("no device cuda:{}: this machine has {} CUDA device{}",
                                          device_index, count, count == 1 ? "" : "s"));
    int major = 0;
    check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device_index),
          "cudaDeviceGetAttribute");
    if (major < kOldestMajor)
      fail(ErrorKind::device,
           fmt::format(
               "cuda:{} has compute capability {}.x, the kernels need {}.0 or newer; train with --device cpu",
               device_index, major, kOldestMajor));
    check(cudaSetDevice(device_index), "cudaSetDevice");
    cudaStream_t stream = nullptr;
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    return {stream};
  }
  void destroy_stream(Stream stream) const noexcept override {
    cudaStreamDestroy(static_cast<cudaStream_t>(stream.handle));
  }
  void* allocate(int device_index, std::size_t bytes) const override {
    check(cudaSetDevice(device_index), "cudaSetDevice");
    void* data = nullptr;
    if (cudaMalloc(&data, bytes) != cudaSuccess) {
      cudaGetLastError();  // clears the error, which is reported here
      std::size_t available = 0, total = 0;
      cudaMemGetInfo(&available, &total);
      fail(ErrorKind::runtime,
           fmt::format(
               "out of memory on cuda:{}: {} bytes were asked for, {} of {} are free; a smaller --batch-size "
               "needs less",
               device_index, bytes, available, total));
    }
    return data;
  }
  void release(int, void* data) const noexcept override { cudaFree(data); }
  void fill_zero(void* data, std::size_t bytes, Stream stream) const override {
    check(cudaMemsetAsync(data, 0, bytes, static_cast<cudaStream_t>(stream.handle)), "cudaMemsetAsync");
  }
  void copy_to_device(void* to, const void* from, std::size_t bytes, Stream stream) const override {
    copy(to, from, bytes, cudaMemcpyHostToDevice, stream);
  }
  void copy_to_host(void* to, const void* from, std::size_t bytes, Stream stream) const override {
    copy(to, from, bytes, cudaMemcpyDeviceToHost, stream);
  }
  void copy_on_device(void* to, const void* from, std::size_t bytes, Stream stream) const override {
    copy(to, from, bytes, cudaMemcpyDeviceToDevice, stream);
  }
  void synchronize(Stream stream) const override {
    check(cudaStreamSynchronize(static_cast<cudaStream_t>(stream.handle)), "cudaStreamSynchronize");
  }

 private:
  static void copy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, Stream stream) {
    check(cudaMemcpyAsync(to, from, bytes, kind, static_cast<cudaStream_t>(stream.handle)),
          "cudaMemcpyAsync");
  }
};

}  // namespace

const DeviceBackend& device_backend() {
  static const CudaBackend cuda;  // tried again by the next caller when it throws
  return cuda;
}

}  // namespace zeroth::cuda_native
