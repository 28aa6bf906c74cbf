#include <cstdint>
#include <set>
#include <string_view>
#include <vector>

#include "kernels/core/block.cuh"
#include "tests/catch.h"

namespace zeroth::ZEROTH_NATIVE {

namespace {

__global__ void record_kernel(unsigned* next, unsigned* order) {
  order[atomicAdd(next, 1)] = blockIdx.x * blockDim.x + threadIdx.x;
  __syncthreads();
  order[atomicAdd(next, 1)] = blockIdx.x * blockDim.x + threadIdx.x;
}

std::vector<unsigned> recorded() {
  std::vector<unsigned> order(2 * 4 * 48);
  unsigned next = 0;
  launch(record_kernel, dim3(4), dim3(48), 0, Stream{}, &next, order.data());
  return order;
}

// Races: thread sanitizer would rightly object, so these run without it.
constexpr bool kRacesAllowed = std::string_view(ZEROTH_TEST_SANITIZE) != "thread";

__global__ void neighbour_kernel(float* out) {
  ZEROTH_SHARED(float, tile, [64]);
  tile[threadIdx.x] = static_cast<float>(threadIdx.x);
  tile[(threadIdx.x + 1) % 64] += 0.5f;
  __syncthreads();
  out[threadIdx.x] = tile[threadIdx.x];
}

__global__ void overwrite_kernel(float* out) {
  ZEROTH_SHARED(float, tile, [64]);
  float sum = 0.0f;
  for (int step = 0; step < 4; ++step) {
    tile[threadIdx.x] = static_cast<float>(step);
    __syncthreads();
    sum += tile[(threadIdx.x + 5) % 64];  // no barrier before the next write
  }
  out[threadIdx.x] = sum;
}

__global__ void block_race_kernel(float* out) {
  out[threadIdx.x] = static_cast<float>(blockIdx.x);
}

template <class Kernel>
std::size_t different_results(Kernel kernel, unsigned blocks) {
  std::set<std::vector<float>> results;
  simt::run_in_every_order([&](simt::OrderSetting) {
    std::vector<float> out(64);
    launch(kernel, dim3(blocks), dim3(64), 0, Stream{}, out.data());
    for (float& value : out)
      if (value != value) value = -1.0f;  // NaN has no place in an ordered set
    results.insert(out);
  });
  return results.size();
}

}  // namespace

TEST_CASE("threads start, and go on after a barrier, in the chosen order") {
  const simt::OrderSetting before = simt::thread_order();
  simt::set_thread_order(simt::Order::forward);
  const std::vector<unsigned> forward = recorded();
  simt::set_thread_order(simt::Order::reverse);
  const std::vector<unsigned> reverse = recorded();
  simt::set_thread_order(simt::Order::random, 5);
  const std::vector<unsigned> random = recorded(), again = recorded();
  simt::set_thread_order(simt::Order::random, 6);
  const std::vector<unsigned> other = recorded();
  simt::set_thread_order(before.order, before.seed);
  for (unsigned i = 0; i < forward.size(); ++i) {
    CHECK(forward[i] == i / 96 * 48 + i % 48);
    CHECK(reverse[i] == (3 - i / 96) * 48 + (47 - i % 48));
  }
  CHECK(random == again);
  CHECK(random != other);
  CHECK(std::multiset<unsigned>(random.begin(), random.end()) ==
        std::multiset<unsigned>(forward.begin(), forward.end()));
}

TEST_CASE("a race shows as results that differ between orders") {
  if (!kRacesAllowed) return;
  if (std::string_view(ZEROTH_TEST_SANITIZE) == "") CHECK(different_results(neighbour_kernel, 1) > 1);
  CHECK(different_results(overwrite_kernel, 1) > 1);
  CHECK(different_results(block_race_kernel, 3) > 1);
}

}  // namespace zeroth::ZEROTH_NATIVE
