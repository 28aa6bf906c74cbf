#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <string>
#include <vector>

/// A CUDA runtime in host memory, for tests. It refuses what CUDA refuses, and is as lazy as CUDA may be:
/// work that is queued on a stream runs when somebody waits for it, and not before. So what was not waited
/// for is missed.
namespace cuda_mock {

struct Gpu {
  std::string name = "Mock GPU";
  int major = 9;
  std::size_t memory = std::size_t{1} << 30;
  int l2_bytes = 4 << 20;
};

struct Machine {
  int driver = 13000;  ///< 0: no driver
  std::vector<Gpu> gpus = {Gpu{}};
  cudaError_t broken = cudaSuccess;  ///< what every call returns, as after the driver has gone
};

/// Forgets everything and starts another machine.
void start(const Machine& machine = {});
Machine& machine();

/// What has been created and not been destroyed.
struct Live {
  std::size_t memory, pinned, streams, events, graphs;
  bool operator==(const Live&) const = default;
};
Live live();

/// How often the host had to wait: it asked for work that had not run yet.
std::size_t waits();

/// Makes a function address known as a kernel. `bind` gets the arguments at the launch, as CUDA copies them,
/// and returns what the kernel does when it runs; an error that this returns is a fault, and stays with the
/// device.
void add_kernel(const void* function, const char* name,
                std::function<std::function<cudaError_t()>(void** arguments)> bind);

}  // namespace cuda_mock
