// Stands in for the CUDA device where CUDA is left out of the build.

#include "kernels/core/cuda_device.h"
#include "kernels/core/error.h"

namespace zeroth {

namespace cuda_native {

std::string why_unavailable() {
  return "this build of zeroth has no CUDA: install the CUDA toolkit and configure again with "
         "-DZEROTH_CUDA=ON";
}

std::string why_unusable(int) {
  return why_unavailable();
}

std::size_t free_bytes(int) {
  fail(ErrorKind::device, why_unavailable());
}

const DeviceBackend& device_backend() {
  fail(ErrorKind::device, why_unavailable());
}

}  // namespace cuda_native

CudaReport report_cuda() {
  return {"", "", {}, cuda_native::why_unavailable()};
}

}  // namespace zeroth
