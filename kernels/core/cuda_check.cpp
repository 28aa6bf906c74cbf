#include "kernels/core/cuda_check.h"

#include <fmt/format.h>

#include <string_view>

#include "kernels/core/error.h"

namespace zeroth::cuda_native {

namespace {

/// What to do about an error, where there is more to say than CUDA's own words.
const char* advice(cudaError_t status) {
  switch (status) {
    case cudaErrorIllegalAddress:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorIllegalInstruction:
    case cudaErrorInvalidPc:
    case cudaErrorHardwareStackError:
    case cudaErrorAssert:
    case cudaErrorLaunchFailure:
      return "; a kernel that was queued before has failed: --sync-launches names it";
    case cudaErrorStreamCaptureUnsupported:
    case cudaErrorStreamCaptureInvalidated:
      return "; a step that is being captured neither allocates nor waits";
    default:
      return "";
  }
}

}  // namespace

void check(cudaError_t status, const char* expression, const char* file, int line) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // it is reported here, and not again by the next launch
  const std::string_view path(file);
  fail(ErrorKind::runtime, fmt::format("{}: {}{} ({}:{})", expression, cudaGetErrorString(status),
                                       advice(status), path.substr(path.rfind('/') + 1), line));
}

void activate(int device_index) {
  int current = -1;
  if (cudaGetDevice(&current) == cudaSuccess && current == device_index) return;
  ZEROTH_CUDA_CHECK(cudaSetDevice(device_index));
}

}  // namespace zeroth::cuda_native
