#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <type_traits>

#include "kernels/core/cuda_launch.h"
#include "kernels/core/device.h"

#define ZEROTH_SHARED(type, name, extents) __shared__ type name extents

namespace zeroth::cuda_native {

inline constexpr DeviceKind kNativeDevice = DeviceKind::cuda;

/// This block's dynamic shared memory. Aligned for 16-byte vector loads.
template <class T>
__device__ inline T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char zeroth_dynamic_shared[];
  return reinterpret_cast<T*>(zeroth_dynamic_shared);
}

/// Queues a kernel on a stream. Arguments are converted to the kernel's parameter types. Throws as
/// queue_kernel() does.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes, Stream stream,
            Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "a kernel takes exactly its parameters");
  [&](std::remove_cv_t<Parameters>... values) {
    void* pointers[] = {static_cast<void*>(&values)..., nullptr};
    queue_kernel(reinterpret_cast<const void*>(kernel), grid, block, pointers, shared_bytes, stream);
  }(static_cast<std::remove_cv_t<Parameters>>(arguments)...);
}

}  // namespace zeroth::cuda_native
