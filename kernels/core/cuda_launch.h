#pragma once

#include <cstddef>

#include "kernels/core/device.h"

struct dim3;  // CUDA's

namespace zeroth::cuda_native {

/// Queues a kernel on a stream, on the stream's device. Throws Error(runtime) naming the kernel when the
/// launch is refused or earlier work on the device has failed. Faults inside the kernel appear at the next
/// synchronisation, which a synchronous stream makes at once: the error then names the kernel that failed.
void queue_kernel(const void* kernel, dim3 grid, dim3 block, void** arguments, std::size_t shared_bytes,
                  Stream stream);

}  // namespace zeroth::cuda_native
