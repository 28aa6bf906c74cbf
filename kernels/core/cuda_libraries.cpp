#include "kernels/core/cuda_libraries.h"

#include <fmt/format.h>

#include "kernels/core/error.h"

// Folders, versions and sonames come from the build: see kernels/CMakeLists.txt.

namespace zeroth {

const LibraryDescription kCudnn{
    "cuDNN", "libcudnn.so.9", ZEROTH_CUDNN_FOLDER, ZEROTH_CUDNN_VERSION,
    "install cuDNN 9 for CUDA " ZEROTH_CUDA_MAJOR " (Debian: libcudnn9-cuda-" ZEROTH_CUDA_MAJOR
    ", pip: nvidia-cudnn-cu" ZEROTH_CUDA_MAJOR ") and name its folder in LD_LIBRARY_PATH"};
const LibraryDescription kCublasLt{
    "cuBLASLt", "libcublasLt.so." ZEROTH_CUDA_MAJOR, ZEROTH_CUBLASLT_FOLDER, ZEROTH_CUBLASLT_VERSION,
    "install cuBLAS of CUDA " ZEROTH_CUDA_MAJOR " (Debian: libcublas-" ZEROTH_CUDA_MAJOR
    "-0, pip: nvidia-cublas) and name its folder in LD_LIBRARY_PATH"};
const LibraryDescription kNccl{"NCCL", "libnccl.so.2", ZEROTH_NCCL_FOLDER, ZEROTH_NCCL_VERSION,
                               "install NCCL 2 for CUDA " ZEROTH_CUDA_MAJOR
                               " (Debian: libnccl2, pip: nvidia-nccl-cu" ZEROTH_CUDA_MAJOR
                               ") and name its folder in LD_LIBRARY_PATH"};

namespace {

// The version functions have kept these types since the libraries' first releases, so they need no headers.

std::string cudnn_version(const SharedLibrary& library) {
  const std::size_t version = library.function<std::size_t (*)()>("cudnnGetVersion")();
  return fmt::format("{}.{}.{}", version / 10000, version % 10000 / 100, version % 100);
}

std::string cublaslt_version(const SharedLibrary& library) {
  const std::size_t version = library.function<std::size_t (*)()>("cublasLtGetVersion")();
  return fmt::format("{}.{}.{}", version / 10000, version % 10000 / 100, version % 100);
}

std::string nccl_version(const SharedLibrary& library) {
  int version = 0;
  static_cast<void>(library.function<int (*)(int*)>("ncclGetVersion")(&version));
  return fmt::format("{}.{}.{}", version / 10000, version % 10000 / 100, version % 100);
}

LibraryReport report(const LibraryDescription& description, std::string (*version)(const SharedLibrary&)) {
  LibraryReport result{description.name, description.compiled, "", "", ""};
  try {
    const SharedLibrary library(description);
    result.loaded = version(library);
    result.path = library.path();
  } catch (const Error& error) {
    result.missing = error.what();
  }
  return result;
}

}  // namespace

std::vector<LibraryReport> report_cuda_libraries() {
  return {report(kCudnn, cudnn_version), report(kCublasLt, cublaslt_version), report(kNccl, nccl_version)};
}

}  // namespace zeroth
