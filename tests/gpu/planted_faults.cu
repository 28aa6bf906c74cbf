// Kernels with one fault each, to show that compute-sanitizer finds such faults on this machine before its
// silence about the real kernels counts for anything.
//   zeroth_planted_faults memcheck|racecheck|initcheck|synccheck

#include <cuda_runtime.h>

#include <cstdio>
#include <cstring>

namespace {

constexpr int kThreads = 128;

__global__ void write_past_the_end(float* out) {
  out[threadIdx.x + 1] = 1.0f;  // out has kThreads elements
}

__global__ void read_without_barrier(float* out) {
  __shared__ float shared[kThreads];
  shared[threadIdx.x] = static_cast<float>(threadIdx.x);
  out[threadIdx.x] = shared[(threadIdx.x + kThreads / 2) % kThreads];  // another warp's element
}

__global__ void read_what_nobody_wrote(float* out) {
  out[threadIdx.x] += 1.0f;
}

__global__ void barrier_for_half_a_warp(float* out) {
  if (threadIdx.x % 32 < 16) __syncthreads();
  out[threadIdx.x] = 1.0f;
}

bool ok(cudaError_t status) {
  if (status == cudaSuccess) return true;
  std::fprintf(stderr, "zeroth_planted_faults: %s\n", cudaGetErrorString(status));
  return false;
}

/// One block. (The faults stand outside the engine, and so does their launch.)
bool run(void (*kernel)(float*), float* out) {
  void* arguments[] = {&out};
  return ok(cudaLaunchKernel(reinterpret_cast<const void*>(kernel), dim3(1), dim3(kThreads), arguments, 0,
                             nullptr)) &&
         ok(cudaDeviceSynchronize());
}

}  // namespace

int main(int argc, char** argv) {
  const char* fault = argc == 2 ? argv[1] : "";
  const struct {
    const char* tool;
    void (*kernel)(float*);
  } faults[] = {{"memcheck", write_past_the_end},
                {"racecheck", read_without_barrier},
                {"initcheck", read_what_nobody_wrote},
                {"synccheck", barrier_for_half_a_warp}};
  for (const auto& planted : faults) {
    if (std::strcmp(fault, planted.tool) != 0) continue;
    float* out = nullptr;
    return ok(cudaMalloc(&out, kThreads * sizeof(float))) && run(planted.kernel, out) ? 0 : 1;
  }
  std::fprintf(stderr, "usage: zeroth_planted_faults memcheck|racecheck|initcheck|synccheck\n");
  return 2;
}
