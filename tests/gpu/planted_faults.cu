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

__global__ void read_what_nobody_wrote(const float* in, float* out) {
  out[threadIdx.x] = in[threadIdx.x];
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

}  // namespace

int main(int argc, char** argv) {
  const char* fault = argc == 2 ? argv[1] : "";
  float *in = nullptr, *out = nullptr;
  if (!ok(cudaMalloc(&in, kThreads * sizeof(float))) || !ok(cudaMalloc(&out, kThreads * sizeof(float)))) return 1;
  if (std::strcmp(fault, "memcheck") == 0) {
    write_past_the_end<<<1, kThreads>>>(out);
  } else if (std::strcmp(fault, "racecheck") == 0) {
    read_without_barrier<<<1, kThreads>>>(out);
  } else if (std::strcmp(fault, "initcheck") == 0) {
    read_what_nobody_wrote<<<1, kThreads>>>(in, out);
  } else if (std::strcmp(fault, "synccheck") == 0) {
    barrier_for_half_a_warp<<<1, kThreads>>>(out);
  } else {
    std::fprintf(stderr, "usage: zeroth_planted_faults memcheck|racecheck|initcheck|synccheck\n");
    return 2;
  }
  return ok(cudaDeviceSynchronize()) ? 0 : 1;
}
