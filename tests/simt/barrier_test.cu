#include <set>
#include <stdexcept>
#include <vector>

#include "kernels/core/block.cuh"
#include "tests/catch.h"

namespace zeroth::ZEROTH_NATIVE {

namespace {

__global__ void reverse_kernel(int* data, int rounds) {
  ZEROTH_SHARED(int, tile, [1024]);
  for (int round = 0; round < rounds; ++round) {
    tile[threadIdx.x] = data[threadIdx.x];
    __syncthreads();
    data[threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x] + 1;
    __syncthreads();
  }
}

__global__ void vote_kernel(int* out) {
  const int i = static_cast<int>(threadIdx.x);
  const int count = __syncthreads_count(i % 3 == 0);
  const int all = __syncthreads_and(i >= 0), not_all = __syncthreads_and(i != 7);
  const int any = __syncthreads_or(i == 50), none = __syncthreads_or(i > 1000);
  out[i] = count * 10000 + all * 1000 + not_all * 100 + any * 10 + none;
}

template <class T>
__global__ void block_sum_kernel(const T* x, T* sums, int count) {
  ZEROTH_SHARED(T, slots, [kWarpSize]);
  T value{};
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) value += x[i];
  sums[threadIdx.x] = block_sum(value, &slots[0]);
}

__global__ void throwing_kernel(int thrower) {
  __syncthreads();
  if (static_cast<int>(threadIdx.x) == thrower) throw std::logic_error("thrown in a kernel");
  __syncthreads();
}

int alive = 0;
struct Counted {
  Counted() { atomicAdd(&alive, 1); }
  ~Counted() { atomicAdd(&alive, -1); }
};

__global__ void counted_kernel() {
  const Counted counted;
  if (threadIdx.x < 5) __syncthreads();
}

__global__ void no_barrier_kernel(int* out) {
  out[blockIdx.x * blockDim.x + threadIdx.x] += 1;
}

__global__ void lock_kernel(int* lock, int* sum) {
  while (atomicCAS(lock, 0, 1) != 0) {
  }
  __threadfence();
  const int before = *sum;
  __nanosleep(10);  // lets the others try for the lock
  *sum = before + 1;
  __threadfence();
  atomicExch(lock, 0);
}

}  // namespace

TEST_CASE("__syncthreads separates writes from reads, for any number of threads") {
  const int threads = GENERATE(1, 2, 31, 32, 33, 256, 1000, 1024);
  simt::run_in_every_order([&](simt::OrderSetting) {
    std::vector<int> data(static_cast<std::size_t>(threads));
    for (int i = 0; i < threads; ++i) data[static_cast<std::size_t>(i)] = i;
    launch(reverse_kernel, dim3(1), dim3(static_cast<unsigned>(threads)), 0, Stream{}, data.data(), 5);
    for (int i = 0; i < threads; ++i) REQUIRE(data[static_cast<std::size_t>(i)] == threads - 1 - i + 5);
  });
}

TEST_CASE("block votes count every thread's predicate") {
  simt::run_in_every_order([](simt::OrderSetting) {
    std::vector<int> out(100);
    launch(vote_kernel, dim3(1), dim3(100), 0, Stream{}, out.data());
    for (const int value : out) REQUIRE(value == 34 * 10000 + 1000 + 0 + 10 + 0);
  });
}

TEMPLATE_TEST_CASE("block_sum has the same bits in every thread and every order", "", float, double, int) {
  std::vector<TestType> x(1000), first;
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = static_cast<TestType>(1.0 / (1.0 + static_cast<double>(i)) * 100);
  simt::run_in_every_order([&](simt::OrderSetting) {
    std::vector<TestType> sums(256);
    launch(block_sum_kernel<TestType>, dim3(1), dim3(256), 0, Stream{}, x.data(), sums.data(), 1000);
    REQUIRE(std::set<TestType>(sums.begin(), sums.end()).size() == 1);
    if (first.empty()) first = sums;
    REQUIRE(sums == first);
  });
}

TEST_CASE("a kernel's exception comes through, and the harness works afterwards") {
  for (const int thrower : {0, 17, 63}) {
    CHECK_THROWS_WITH(launch(throwing_kernel, dim3(2), dim3(64), 0, Stream{}, thrower), "thrown in a kernel");
    CHECK_NOTHROW(launch(throwing_kernel, dim3(2), dim3(64), 0, Stream{}, -1));
  }
}

TEST_CASE("a fault unwinds every thread of the block") {
  CHECK_THROWS_WITH(launch(counted_kernel, dim3(1), dim3(64), 0, Stream{}),
                    ContainsSubstring("divergent barrier"));
  CHECK(alive == 0);
}

TEST_CASE("a kernel without barriers does not switch between its threads") {
  if (std::string(ZEROTH_TEST_SANITIZE) == "thread") return;  // which has a fiber for every thread
  std::vector<int> out(100 * 256);
  const std::uint64_t before = simt::switches();
  launch(no_barrier_kernel, dim3(100), dim3(256), 0, Stream{}, out.data());
  CHECK(simt::switches() - before <= 2 * 100);
  for (const int value : out) REQUIRE(value == 1);
}

TEST_CASE("a spin lock lets the thread that holds it go on") {
  simt::run_in_every_order([](simt::OrderSetting) {
    int lock = 0, sum = 0;
    launch(lock_kernel, dim3(3), dim3(64), 0, Stream{}, &lock, &sum);
    REQUIRE(sum == 3 * 64);
  });
}

}  // namespace zeroth::ZEROTH_NATIVE
