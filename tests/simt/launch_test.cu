#include <cstdint>
#include <thread>
#include <vector>

#include "kernels/core/block.cuh"
#include "kernels/core/error.h"
#include "tests/catch.h"

namespace zeroth::ZEROTH_NATIVE {

namespace {

struct Point {
  unsigned x, y, z;
  bool operator==(const Point&) const = default;
};

__global__ void __launch_bounds__(1024) index_kernel(Point* threads, Point* blocks) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  threads[block * (blockDim.x * blockDim.y * blockDim.z) + thread] = {threadIdx.x, threadIdx.y, threadIdx.z};
  if (thread == 0) blocks[block] = {blockIdx.x, blockIdx.y, blockIdx.z};
}

__global__ void argument_kernel(double* out, std::int64_t whole, float part, const Point point) {
  *out = static_cast<double>(whole) + part + point.x + point.y + point.z;
}

__global__ void named_kernel() {}

__global__ void turn_kernel(int* data) {
  ZEROTH_SHARED(int, tile, [256]);
  tile[threadIdx.x] = data[threadIdx.x];
  __syncthreads();
  data[threadIdx.x] = tile[255 - threadIdx.x] + 1;
}

template <class T>
__global__ void nested_kernel() {
  launch(named_kernel, dim3(1), dim3(1), 0, Stream{});
}

void try_launch(dim3 grid, dim3 block, std::size_t shared_bytes = 0) {
  launch(named_kernel, grid, block, shared_bytes, Stream{});
}

}  // namespace

TEST_CASE("every thread of every block runs once and knows its place") {
  simt::run_in_every_order([](simt::OrderSetting) {
    const dim3 grid(3, 4, 5), block(7, 3, 2);
    std::vector<Point> threads(60 * 42), blocks(60);
    launch(index_kernel, grid, block, 0, Stream{}, threads.data(), blocks.data());
    for (unsigned b = 0; b < 60; ++b) {
      REQUIRE(blocks[b] == Point{b % 3, b / 3 % 4, b / 12});
      for (unsigned t = 0; t < 42; ++t) REQUIRE(threads[b * 42 + t] == Point{t % 7, t / 7 % 3, t / 21});
    }
  });
}

TEST_CASE("arguments are converted to the kernel's parameter types") {
  double out = 0;
  launch(argument_kernel, dim3(1), dim3(1), 0, Stream{}, &out, 1, 0.5, Point{1, 2, 3});
  CHECK(out == 7.5);
}

TEST_CASE("launches that CUDA refuses are refused, by the kernel's name and the launch's line") {
  CHECK_NOTHROW(try_launch(dim3(1), dim3(1024)));
  CHECK_NOTHROW(try_launch(dim3(1), dim3(16, 1, 64), 227 * 1024));
  CHECK_THROWS_AS(try_launch(dim3(1), dim3(1025)), Error);
  CHECK_THROWS_AS(try_launch(dim3(1), dim3(32, 33)), Error);
  CHECK_THROWS_AS(try_launch(dim3(1), dim3(1, 1, 65)), Error);
  CHECK_THROWS_AS(try_launch(dim3(1), dim3(65536, 65536)), Error);
  CHECK_THROWS_AS(try_launch(dim3(0), dim3(32)), Error);
  CHECK_THROWS_AS(try_launch(dim3(1), dim3(32, 0)), Error);
  CHECK_THROWS_AS(try_launch(dim3(1, 65536), dim3(1)), Error);
  CHECK_THROWS_AS(try_launch(dim3(0x80000000u), dim3(1)), Error);
  CHECK_THROWS_AS(try_launch(dim3(1), dim3(32), 227 * 1024 + 1), Error);
  CHECK_THROWS_WITH(try_launch(dim3(0), dim3(32)), ContainsSubstring("named_kernel"));
  CHECK_THROWS_WITH(try_launch(dim3(0), dim3(32)), ContainsSubstring("launch_test.cu:"));
  try {
    try_launch(dim3(0), dim3(1));
    FAIL("not refused");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::runtime);
  }
}

TEST_CASE("a launch from inside a kernel is refused") {
  CHECK_THROWS_WITH(launch(nested_kernel<float>, dim3(1), dim3(1), 0, Stream{}),
                    ContainsSubstring("inside a kernel"));
}

TEST_CASE("several OS threads may launch kernels at once") {
  std::vector<std::thread> threads;
  std::vector<std::vector<int>> out(3, std::vector<int>(256));
  for (std::vector<int>& data : out)
    threads.emplace_back([&data] {
      for (int i = 0; i < 20; ++i) launch(turn_kernel, dim3(1), dim3(256), 0, Stream{}, data.data());
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<int>& data : out) CHECK(data == std::vector<int>(256, 20));
}

TEST_CASE("a barrier outside a kernel is an error") {
  CHECK_THROWS_WITH(__syncthreads(), ContainsSubstring("outside a kernel"));
  CHECK_THROWS_WITH(__shfl_sync(1u, 1, 0), ContainsSubstring("outside a kernel"));
}

}  // namespace zeroth::ZEROTH_NATIVE
