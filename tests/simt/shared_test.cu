#include <cstdint>
#include <string_view>
#include <vector>

#include "kernels/core/block.cuh"
#include "tests/catch.h"

namespace zeroth::ZEROTH_NATIVE {

namespace {

template <class T, int kRows>
__global__ void transpose_kernel(const T* x, T* y) {
  ZEROTH_SHARED(T, tile, [kRows][kRows + 1]);
  for (unsigned r = threadIdx.y; r < kRows; r += blockDim.y)
    tile[r][threadIdx.x] = x[r * kRows + threadIdx.x];
  __syncthreads();
  for (unsigned r = threadIdx.y; r < kRows; r += blockDim.y)
    y[r * kRows + threadIdx.x] = tile[threadIdx.x][r];
}

__device__ int* counter_of_block() {
  ZEROTH_SHARED(int, counter, [1]);
  return counter;
}

__global__ void loop_kernel(int* out) {
  if (threadIdx.x == 0) *counter_of_block() = 0;
  __syncthreads();
  for (int i = 0; i < 3; ++i) {
    ZEROTH_SHARED(int, slot, [32]);
    slot[threadIdx.x] = i;
    __syncthreads();
    if (slot[31 - threadIdx.x] == i) atomicAdd(counter_of_block(), 1);
    __syncthreads();
  }
  if (threadIdx.x == 0) out[blockIdx.x] = *counter_of_block();
}

__global__ void dynamic_kernel(int* out, int count) {
  int* tile = dynamic_shared<int>();
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) tile[i] = i;
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x))
    out[i] = tile[count - 1 - i];
}

struct Padded {
  double value;
  std::int8_t index;
};

__global__ void struct_kernel(double* out) {
  ZEROTH_SHARED(Padded, pairs, [32]);
  pairs[threadIdx.x].value = threadIdx.x;
  pairs[threadIdx.x].index = 1;
  __syncthreads();
  const Padded other = pairs[31 - threadIdx.x];
  out[threadIdx.x] = other.value + other.index;
}

__global__ void aligned_kernel(float* out) {
  ZEROTH_SHARED(float, first, [3]);
  ZEROTH_SHARED(__align__(16) float, tile, [64]);
  if (threadIdx.x < 3) first[threadIdx.x] = 1.0f;
  if (threadIdx.x < 16) *reinterpret_cast<float4*>(&tile[threadIdx.x * 4]) = make_float4(1, 2, 3, 4);
  __syncthreads();
  out[threadIdx.x] = tile[threadIdx.x] + first[threadIdx.x % 3];
}

__global__ void memcpy_kernel(float* out) {
  ZEROTH_SHARED(float, tile, [32]);
  const float values[32] = {1.0f, 2.0f};
  if (threadIdx.x == 0) memcpy(tile, values, sizeof(values));
  __syncthreads();
  out[threadIdx.x] = tile[threadIdx.x];
}

template <int kFloats>
__global__ void big_kernel(float* out) {
  ZEROTH_SHARED(float, tile, [kFloats]);
  tile[threadIdx.x] = 1.0f;
  dynamic_shared<float>()[threadIdx.x] = tile[threadIdx.x];
  out[threadIdx.x] = tile[threadIdx.x];
}

__global__ void unwritten_kernel(std::uint32_t* out, unsigned writers) {
  ZEROTH_SHARED(std::uint32_t, tile, [32]);
  if (blockIdx.x == 0 && threadIdx.x < writers) tile[threadIdx.x] = 7;
  __syncthreads();
  out[blockIdx.x * 32 + threadIdx.x] = tile[threadIdx.x];
}

}  // namespace

TEMPLATE_TEST_CASE("shared arrays of two dimensions, in templates", "", float, double, std::uint8_t) {
  std::vector<TestType> x(32 * 32), y(32 * 32);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<TestType>(i % 251);
  launch(transpose_kernel<TestType, 32>, dim3(1), dim3(32, 8), 0, Stream{}, x.data(), y.data());
  for (std::size_t r = 0; r < 32; ++r)
    for (std::size_t c = 0; c < 32; ++c) REQUIRE(y[r * 32 + c] == x[c * 32 + r]);
}

TEST_CASE("a shared array is one per block, wherever it is declared") {
  std::vector<int> out(5);
  launch(loop_kernel, dim3(5), dim3(32), 0, Stream{}, out.data());
  CHECK(out == std::vector<int>(5, 96));
}

TEST_CASE("dynamic shared memory, up to the limit") {
  const int count = GENERATE(1, 1000, 227 * 256);
  std::vector<int> out(static_cast<std::size_t>(count));
  launch(dynamic_kernel, dim3(1), dim3(64), static_cast<std::size_t>(count) * sizeof(int), Stream{},
         out.data(), count);
  for (int i = 0; i < count; ++i) REQUIRE(out[static_cast<std::size_t>(i)] == count - 1 - i);
}

TEST_CASE("padding that nobody writes is no fault") {
  std::vector<double> out(32);
  launch(struct_kernel, dim3(1), dim3(32), 0, Stream{}, out.data());
  CHECK(out[0] == 32.0);
}

TEST_CASE("alignment can be asked for before the type") {
  std::vector<float> out(64);
  launch(aligned_kernel, dim3(1), dim3(64), 0, Stream{}, out.data());
  CHECK(out[63] == 5.0f);
}

TEST_CASE("memcpy into shared memory counts as writing it") {
  std::vector<float> out(32);
  launch(memcpy_kernel, dim3(1), dim3(32), 0, Stream{}, out.data());
  CHECK(out[1] == 2.0f);
}

TEST_CASE("shared memory beyond CUDA's limits is refused") {
  std::vector<float> out(32);
  const auto run = [&](auto kernel, std::size_t bytes) {
    launch(kernel, dim3(1), dim3(32), bytes, Stream{}, out.data());
  };
  CHECK_NOTHROW(run(big_kernel<12 * 1024>, 179 * 1024));
  CHECK_THROWS_WITH(run(big_kernel<12 * 1024 + 1>, 128),
                    ContainsSubstring("48 KB") && ContainsSubstring("'tile'"));
  CHECK_THROWS_WITH(run(big_kernel<12 * 1024>, 180 * 1024), ContainsSubstring("227 KB"));
}

TEST_CASE("unwritten shared memory holds NaN bits, in every block again") {
  std::vector<std::uint32_t> out(64);
  if (std::string_view(ZEROTH_TEST_SANITIZE) == "address") {
    CHECK_THROWS_WITH(
        launch(unwritten_kernel, dim3(2), dim3(32), 0, Stream{}, out.data(), 32u),
        ContainsSubstring("uninitialised shared memory") && ContainsSubstring("shared_test.cu:"));
    return;
  }
  launch(unwritten_kernel, dim3(2), dim3(32), 0, Stream{}, out.data(), 16u);
  CHECK(out[15] == 7);
  CHECK(out[16] == 0xffffffffu);
  CHECK(out[32] == 0xffffffffu);
}

}  // namespace zeroth::ZEROTH_NATIVE
