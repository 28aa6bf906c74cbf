#pragma once

#include <string>
#include <vector>

#include "kernels/core/device.h"

namespace zeroth::app {

/// A thing that is here, or why not and how to get it.
struct Finding {
  std::string name, state, missing;
};

/// Each GPU with compute capability, memory and multiprocessors; one finding that says why where there is none.
std::vector<Finding> find_gpus(const CudaReport& report);

/// Driver, runtime and NVIDIA's libraries with their versions: as compiled against, and as loaded here. Nothing
/// in a build without CUDA.
std::vector<Finding> find_cuda_software(const CudaReport& report);

}  // namespace zeroth::app
