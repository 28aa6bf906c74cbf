#pragma once

#include <string>
#include <vector>

#include "kernels/core/shared_library.h"

namespace zeroth {

/// NVIDIA's libraries that the CUDA rows use where they are there. Opened when first used: each costs time
/// and memory to load, and the program also starts on machines that have none.
extern const LibraryDescription kCudnn, kCublasLt, kNccl;

/// What `zeroth info` says of one of them.
struct LibraryReport {
  std::string name;
  std::string compiled;  ///< version of the headers of this build; empty: its rows were left out
  std::string loaded;    ///< version found on this machine; empty where it cannot be loaded
  std::string path;      ///< the file that was opened
  std::string missing;   ///< why it cannot be loaded, and what to do; empty where it can
};

/// Opens each library and asks for its version.
std::vector<LibraryReport> report_cuda_libraries();

}  // namespace zeroth
