// What this machine has of CUDA, and why a device cannot be used.

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <cstdlib>

#include "kernels/core/cuda_device.h"

namespace zeroth {

namespace cuda_native {

namespace {

/// The oldest architecture that kernels are compiled for (see CMAKE_CUDA_ARCHITECTURES): Ampere.
constexpr int kOldestMajor = 8;

/// "13.0" for 13000; empty for 0, which is what a missing driver reports.
std::string version_text(int version) {
  return version == 0 ? "" : fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

std::string driver_version() {
  int version = 0;
  cudaDriverGetVersion(&version);
  return version_text(version);
}

std::string runtime_version() {
  int version = 0;
  cudaRuntimeGetVersion(&version);
  return version_text(version);
}

}  // namespace

std::string why_unavailable() {
  const std::string driver = driver_version();
  if (driver.empty()) return "no CUDA driver: install the NVIDIA driver, or train with --device cpu";
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) cudaGetLastError();
  if (status == cudaErrorInsufficientDriver)
    return fmt::format(
        "the CUDA driver is too old: it serves CUDA {}, this program needs {}; update the NVIDIA driver, or "
        "train "
        "with --device cpu",
        driver, runtime_version());
  if (status != cudaSuccess && status != cudaErrorNoDevice)
    return fmt::format("no CUDA device can be used: {}; train with --device cpu", cudaGetErrorString(status));
  if (status == cudaSuccess && count > 0) return "";
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  return visible == nullptr
             ? std::string("no GPU in this machine; train with --device cpu")
             : fmt::format(
                   "no GPU is visible: CUDA_VISIBLE_DEVICES is '{}'; unset it, or train with --device cpu",
                   visible);
}

std::string why_unusable(int device_index) {
  int count = 0;
  if (const cudaError_t status = cudaGetDeviceCount(&count); status != cudaSuccess) return why_unavailable();
  if (device_index >= count)
    return fmt::format("no device cuda:{}: this machine has {} CUDA device{}", device_index, count,
                       count == 1 ? "" : "s");
  int major = 0;
  const cudaError_t status = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device_index);
  if (status != cudaSuccess) return fmt::format("cuda:{}: {}", device_index, cudaGetErrorString(status));
  if (major >= kOldestMajor) return "";
  return fmt::format(
      "cuda:{} has compute capability {}.x, the kernels need {}.0 or newer; train with --device cpu",
      device_index, major, kOldestMajor);
}

}  // namespace cuda_native

CudaReport report_cuda() {
  CudaReport report{
      cuda_native::runtime_version(), cuda_native::driver_version(), {}, cuda_native::why_unavailable()};
  int count = 0;
  if (!report.missing.empty() || cudaGetDeviceCount(&count) != cudaSuccess) return report;
  for (int index = 0; index < count; ++index) {
    GpuReport gpu;
    cudaDeviceProp properties{};
    if (const cudaError_t status = cudaGetDeviceProperties(&properties, index); status == cudaSuccess) {
      gpu = {properties.name,
             properties.major,
             properties.minor,
             properties.totalGlobalMem,
             properties.multiProcessorCount,
             cuda_native::why_unusable(index)};
    } else {
      gpu.missing = cudaGetErrorString(status);
    }
    report.gpus.push_back(gpu);
  }
  return report;
}

}  // namespace zeroth
