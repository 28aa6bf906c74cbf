#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <string>
#include <type_traits>

#include "kernels/core/device.h"
#include "kernels/core/error.h"

#define ZEROTH_SHARED(type, name, extents) __shared__ type name extents

namespace zeroth::cuda_native {

inline constexpr DeviceKind kNativeDevice = DeviceKind::cuda;

/// This block's dynamic shared memory. Aligned for 16-byte vector loads.
template <class T>
__device__ inline T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char zeroth_dynamic_shared[];
  return reinterpret_cast<T*>(zeroth_dynamic_shared);
}

/// Dynamic shared memory that a kernel gets without asking; more has to be allowed kernel by kernel.
inline constexpr std::size_t kPlainSharedBytes = 48 << 10;

/// Queues a kernel on a stream. Arguments are converted to the kernel's parameter types. Throws
/// Error(runtime) when the launch itself is refused or earlier work on the device has failed; faults inside
/// the kernel appear at the next synchronisation.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes, Stream stream,
            Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "a kernel takes exactly its parameters");
  [&](std::remove_cv_t<Parameters>... values) {
    void* pointers[] = {static_cast<void*>(&values)...};
    const void* function = reinterpret_cast<const void*>(kernel);
    cudaError_t status = cudaSuccess;
    if (shared_bytes > kPlainSharedBytes)
      status = cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(shared_bytes));
    if (status == cudaSuccess)
      status = cudaLaunchKernel(function, grid, block, pointers, shared_bytes,
                                static_cast<cudaStream_t>(stream.handle));
    if (status == cudaSuccess) return;
    const char* name = "?";
    cudaFuncGetName(&name, function);
    fail(ErrorKind::runtime,
         std::string("launch of kernel ") + name + ", or work before it: " + cudaGetErrorString(status));
  }(static_cast<std::remove_cv_t<Parameters>>(arguments)...);
}

}  // namespace zeroth::cuda_native
