#include "apps/cuda_info.h"

#include <fmt/format.h>

#include "kernels/core/cuda_libraries.h"

namespace zeroth::app {

std::vector<Finding> find_gpus(const CudaReport& report) {
  if (!report.missing.empty()) return {{"cuda", "", report.missing}};
  std::vector<Finding> found;
  for (const GpuReport& gpu : report.gpus)
    found.push_back(
        {fmt::format("cuda:{}", found.size()),
         fmt::format("{}, compute capability {}.{}, {:.1f} GiB, {} multiprocessors", gpu.name, gpu.major,
                     gpu.minor, static_cast<double>(gpu.memory) / (1 << 30), gpu.multiprocessors),
         gpu.missing});
  return found;
}

std::vector<Finding> find_cuda_software(const CudaReport& report) {
  if (report.runtime.empty()) return {};
  std::vector<Finding> found;
  if (report.driver.empty())
    found.push_back({"driver", "", "install the NVIDIA driver"});
  else
    found.push_back({"driver", "serves CUDA " + report.driver, ""});
  found.push_back({"runtime", report.runtime + ", part of this program", ""});
  for (const LibraryReport& library : report_cuda_libraries()) {
    const std::string compiled =
        library.compiled.empty() ? "its rows are not in this build" : "compiled with " + library.compiled;
    if (library.loaded.empty())
      found.push_back({library.name, "", library.missing + " (" + compiled + ")"});
    else
      found.push_back({library.name, fmt::format("{}, {}: {}", library.loaded, compiled, library.path), ""});
  }
  return found;
}

}  // namespace zeroth::app
