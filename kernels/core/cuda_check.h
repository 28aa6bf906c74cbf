#pragma once

#include <cuda_runtime_api.h>

namespace zeroth::cuda_native {

/// Throws Error(runtime) naming expression, cause, file and line unless `status` is cudaSuccess; the error is
/// then cleared, as far as CUDA allows.
void check(cudaError_t status, const char* expression, const char* file, int line);

/// Makes a device current for this thread. Nobody relies on the device that was current before.
void activate(int device_index);

}  // namespace zeroth::cuda_native

#define ZEROTH_CUDA_CHECK(call) ::zeroth::cuda_native::check((call), #call, __FILE__, __LINE__)
