// Kernels with one planted fault each. A comment "// culprit: NAME" stands on every line that the report must
// name.

#include <stdexcept>
#include <vector>

#include "kernels/core/block.cuh"
#include "tests/simt/faults.h"

namespace zeroth::ZEROTH_NATIVE {

namespace {

// ---- barriers and warp collectives that threads leave out
// ---------------------------------------------------------

__global__ void barrier_after_return(float* out) {
  if (threadIdx.x >= 40) return;
  __syncthreads();  // culprit: barrier_after_return
  out[threadIdx.x] = 1.0f;
}

__global__ void barrier_in_branch(float* out) {
  if (threadIdx.x % 2 == 0) {
    __syncthreads();  // culprit: barrier_in_branch
  } else {
    out[threadIdx.x] = 1.0f;
    __syncthreads();  // culprit: barrier_in_branch
  }
}

__global__ void shuffle_after_return(float* out) {
  if (threadIdx.x == 5) return;
  out[threadIdx.x] = __shfl_down_sync(0xffffffffu, 1.0f, 1);  // culprit: shuffle_after_return
}

__global__ void shuffle_in_branch(float* out) {
  if (threadIdx.x < 16)
    out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);  // culprit: shuffle_in_branch
  else
    out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 2.0f, 1);  // culprit: shuffle_in_branch
}

__global__ void shuffle_outside_mask(float* out) {
  out[threadIdx.x] = __shfl_xor_sync(0x0000ffffu, 1.0f, 1);  // culprit: shuffle_outside_mask
}

__global__ void shuffle_from_absent_lane(float* out) {
  if (threadIdx.x < 16)
    out[threadIdx.x] = __shfl_sync(0x0000ffffu, 1.0f, 20);  // culprit: shuffle_from_absent_lane
}

__global__ void shuffle_in_partial_warp(float* out) {
  out[threadIdx.x] = __shfl_down_sync(0xffffffffu, 1.0f, 1);  // culprit: shuffle_in_partial_warp
}

__global__ void ballot_after_return(unsigned* out) {
  if (threadIdx.x == 31) return;
  out[threadIdx.x] = __ballot_sync(0xffffffffu, 1);  // culprit: ballot_after_return
}

__global__ void warp_against_block(float* out) {
  if (threadIdx.x < 8) __syncwarp();  // culprit: warp_against_block
  __syncthreads();                    // culprit: warp_against_block
  out[threadIdx.x] = 1.0f;
}

__global__ void endless_lock(int* lock) {
  while (atomicCAS(lock, 0, 1) != 0) {  // culprit: endless_lock
  }
}

__global__ void trapped(const float* x) {
  if (x[threadIdx.x] >= 0.0f) __trap();  // culprit: trapped
}

__global__ void too_much_shared(float* out) {
  ZEROTH_SHARED(float, first, [8192]);
  ZEROTH_SHARED(float, second, [8192]);  // culprit: too_much_shared
  first[threadIdx.x] = second[threadIdx.x] = 1.0f;
  out[threadIdx.x] = first[threadIdx.x];
}

// ---- accesses
// -----------------------------------------------------------------------------------------------------

__global__ void shared_overrun(float* out, int shift) {
  ZEROTH_SHARED(float, tile, [32]);  // declaration: shared_overrun
  ZEROTH_SHARED(float, neighbour, [64]);
  neighbour[threadIdx.x] = 0.0f;
  float* shifted = &tile[0] + shift;  // of no known extent
  shifted[threadIdx.x] = 1.0f;        // culprit: shared_overrun
  out[threadIdx.x] = neighbour[threadIdx.x];
}

__global__ void dynamic_overrun(float* out) {
  float* tile = dynamic_shared<float>();
  tile[threadIdx.x + 1] = 1.0f;  // culprit: dynamic_overrun
  __syncthreads();
  out[threadIdx.x] = tile[threadIdx.x + 1];
}

__global__ void global_overrun(float* out) {
  out[threadIdx.x + 1] = 1.0f;  // culprit: global_overrun
}

__global__ void uninitialised(float* out) {
  ZEROTH_SHARED(float, tile, [64]);  // declaration: uninitialised
  if (threadIdx.x < 31) tile[threadIdx.x] = 1.0f;
  __syncthreads();
  out[threadIdx.x] = tile[threadIdx.x];  // culprit: uninitialised
}

__global__ void uninitialised_in_second_block(float* out) {
  ZEROTH_SHARED(int, tile, [32]);
  if (blockIdx.x == 0) tile[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] += static_cast<float>(tile[threadIdx.x]);  // culprit: uninitialised_in_second_block
}

__global__ void misaligned(float* out) {
  ZEROTH_SHARED(float, tile, [128]);
  for (unsigned i = threadIdx.x; i < 128; i += blockDim.x) tile[i] = 1.0f;
  __syncthreads();
  const float4 four = *reinterpret_cast<const float4*>(&tile[threadIdx.x * 4]);  // culprit: misaligned
  out[threadIdx.x] = four.x + four.w;
}

// ---- races, whose results are right in some order
// -----------------------------------------------------------------

__global__ void missing_barrier(float* out) {
  ZEROTH_SHARED(float, tile, [64]);
  tile[threadIdx.x] = 1.0f;                   // culprit: missing_barrier
  out[threadIdx.x] = tile[63 - threadIdx.x];  // culprit: missing_barrier
}

__global__ void missing_second_barrier(float* out) {
  ZEROTH_SHARED(float, tile, [64]);
  float sum = 0.0f;
  for (int step = 0; step < 2; ++step) {
    tile[threadIdx.x] = static_cast<float>(step);  // culprit: missing_second_barrier
    __syncthreads();
    sum += tile[63 - threadIdx.x];  // culprit: missing_second_barrier
  }
  out[threadIdx.x] = sum;
}

__global__ void missing_syncwarp(float* out) {
  ZEROTH_SHARED(float, tile, [32]);
  tile[threadIdx.x] = 1.0f;                         // culprit: missing_syncwarp
  const float sum = warp_sum(1.0f);                 // a shuffle is no memory barrier
  out[threadIdx.x] = sum + tile[31 - threadIdx.x];  // culprit: missing_syncwarp
}

__global__ void race_of_blocks(float* out) {
  out[threadIdx.x] = static_cast<float>(blockIdx.x);  // culprit: race_of_blocks
}

__global__ void plain_sum(int* out) {
  *out += 1;  // culprit: plain_sum
}

// ---- their launches
// -----------------------------------------------------------------------------------------------

std::vector<float> floats(std::size_t count) {
  return std::vector<float>(count, 0.0f);
}

template <void (*kKernel)(float*), int kThreads, int kBlocks = 1, int kSharedBytes = 0>
void run() {
  auto out = floats(kThreads);
  launch(kKernel, dim3(kBlocks), dim3(kThreads), kSharedBytes, Stream{}, out.data());
}

void run_ballot() {
  std::vector<unsigned> out(32);
  launch(ballot_after_return, dim3(1), dim3(32), 0, Stream{}, out.data());
}

void run_lock() {
  int lock = 1;
  launch(endless_lock, dim3(1), dim3(2), 0, Stream{}, &lock);
}

void run_trap() {
  const auto x = floats(32);
  launch(trapped, dim3(1), dim3(32), 0, Stream{}, x.data());
}

void run_overrun() {
  auto out = floats(32);
  launch(shared_overrun, dim3(1), dim3(32), 0, Stream{}, out.data(), 1);
}

void run_plain_sum() {
  int out = 0;
  launch(plain_sum, dim3(1), dim3(64), 0, Stream{}, &out);
}

}  // namespace

}  // namespace zeroth::ZEROTH_NATIVE

namespace zeroth {

const std::vector<Fault>& planted_faults() {
  using namespace ZEROTH_NATIVE;
  static const std::vector<Fault> faults{
      {"barrier_after_return", run<barrier_after_return, 64>},
      {"barrier_in_branch", run<barrier_in_branch, 64>},
      {"shuffle_after_return", run<shuffle_after_return, 32>},
      {"shuffle_in_branch", run<shuffle_in_branch, 32>},
      {"shuffle_outside_mask", run<shuffle_outside_mask, 32>},
      {"shuffle_from_absent_lane", run<shuffle_from_absent_lane, 32>},
      {"shuffle_in_partial_warp", run<shuffle_in_partial_warp, 48>},
      {"ballot_after_return", run_ballot},
      {"warp_against_block", run<warp_against_block, 64>},
      {"endless_lock", run_lock},
      {"trapped", run_trap},
      {"too_much_shared", run<too_much_shared, 32>},
      {"shared_overrun", run_overrun},
      {"dynamic_overrun", run<dynamic_overrun, 32, 1, 128>},
      {"global_overrun", run<global_overrun, 32>},
      {"uninitialised", run<uninitialised, 32>},
      {"uninitialised_in_second_block", run<uninitialised_in_second_block, 32, 2>},
      {"misaligned", run<misaligned, 32>},
      {"missing_barrier", run<missing_barrier, 64>},
      {"missing_second_barrier", run<missing_second_barrier, 64>},
      {"missing_syncwarp", run<missing_syncwarp, 32>},
      {"race_of_blocks", run<race_of_blocks, 32, 4>},
      {"plain_sum", run_plain_sum},
  };
  return faults;
}

}  // namespace zeroth
