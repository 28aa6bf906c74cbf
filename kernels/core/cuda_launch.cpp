#include "kernels/core/cuda_launch.h"

#include <fmt/format.h>

#include "kernels/core/cuda_check.h"
#include "kernels/core/error.h"

namespace zeroth::cuda_native {

namespace {

/// Dynamic shared memory that a kernel gets without asking; more has to be allowed kernel by kernel.
constexpr std::size_t kPlainSharedBytes = 48 << 10;

[[noreturn]] void fail_launch(const char* what, const void* kernel, cudaError_t status) {
  cudaGetLastError();  // it is reported here
  const char* name = "?";
  cudaFuncGetName(&name, kernel);
  fail(ErrorKind::runtime, fmt::format(fmt::runtime(what), name, cudaGetErrorString(status)));
}

}  // namespace

void queue_kernel(const void* kernel, dim3 grid, dim3 block, void** arguments, std::size_t shared_bytes,
                  Stream stream) {
  activate(stream.device);
  const auto handle = static_cast<cudaStream_t>(stream.handle);
  cudaError_t status = cudaSuccess;
  if (shared_bytes > kPlainSharedBytes)
    status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(shared_bytes));
  if (status == cudaSuccess) status = cudaLaunchKernel(kernel, grid, block, arguments, shared_bytes, handle);
  if (status != cudaSuccess) fail_launch("launch of kernel {}, or work before it: {}", kernel, status);
  if (!stream.synchronous) return;
  status = cudaStreamSynchronize(handle);
  if (status != cudaSuccess) fail_launch("kernel {} failed: {}", kernel, status);
}

}  // namespace zeroth::cuda_native
