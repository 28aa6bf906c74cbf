#include <vector>

#include "kernels/core/block.cuh"
#include "tests/catch.h"

namespace zeroth::ZEROTH_NATIVE {

namespace {

constexpr unsigned kFull = 0xffffffffu;

template <class T>
__global__ void shuffle_kernel(T* out, int operand, int width) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const T value = static_cast<T>(1000 + lane);
  T* row = out + threadIdx.x * 4;
  row[0] = __shfl_sync(kFull, value, operand, width);
  row[1] = __shfl_up_sync(kFull, value, static_cast<unsigned>(operand), width);
  row[2] = __shfl_down_sync(kFull, value, static_cast<unsigned>(operand), width);
  row[3] = __shfl_xor_sync(kFull, value, operand, width);
}

__global__ void vote_kernel(unsigned* out) {
  const unsigned lane = threadIdx.x % 32;
  unsigned* row = out + threadIdx.x * 4;
  row[0] = __ballot_sync(kFull, lane % 5 == 0);
  row[1] =
      static_cast<unsigned>(__any_sync(kFull, lane == 9)) * 2 + static_cast<unsigned>(__any_sync(kFull, 0));
  row[2] =
      static_cast<unsigned>(__all_sync(kFull, 1)) * 2 + static_cast<unsigned>(__all_sync(kFull, lane != 9));
  row[3] = __match_any_sync(kFull, lane / 8);
}

__global__ void reduce_kernel(int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  int* row = out + lane * 4;
  row[0] = __reduce_add_sync(kFull, lane);
  row[1] = __reduce_min_sync(kFull, lane - 5);
  row[2] = static_cast<int>(__reduce_max_sync(kFull, static_cast<unsigned>(lane)));
  row[3] = __reduce_xor_sync(kFull, 1 << lane);
}

// Two halves of a warp take different ways, each with its own mask, a different number of times.
__global__ void halves_kernel(int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  int value = lane;
  if (lane < 16) {
    for (int i = 0; i < 7; ++i) value = __shfl_sync(0x0000ffffu, value, (lane + 1) % 16);
  } else {
    for (int i = 0; i < 3; ++i) value = __shfl_sync(0xffff0000u, value, 16 + (lane + 1) % 16);
  }
  __syncwarp();
  out[lane] = value;
}

__global__ void partial_warp_kernel(unsigned* out) {
  out[threadIdx.x] = __ballot_sync(kFull, 1);  // the second warp has 8 lanes
  __syncwarp();
}

__global__ void syncwarp_past_exited_kernel(int* out) {
  ZEROTH_SHARED(int, tile, [32]);
  if (threadIdx.x % 4 == 3) return;
  tile[threadIdx.x] = static_cast<int>(threadIdx.x);
  __syncwarp();
  out[threadIdx.x] = tile[threadIdx.x / 4 * 4 + (threadIdx.x + 1) % 3];
}

int expected_source(int kind, int lane, int operand, int width) {
  const int begin = lane / width * width, end = begin + width;
  switch (kind) {
    case 0:
      return begin + operand % width;
    case 1:
      return lane - operand < begin ? lane : lane - operand;
    case 2:
      return lane + operand >= end ? lane : lane + operand;
    default:
      return (lane ^ operand) >= end ? lane : lane ^ operand;
  }
}

}  // namespace

TEMPLATE_TEST_CASE("shuffles read the lane CUDA says", "", int, unsigned, long long, unsigned long long,
                   float, double) {
  for (const int width : {1, 2, 4, 8, 16, 32}) {
    for (const int operand : {0, 1, 3, 16, 31}) {
      std::vector<TestType> out(64 * 4);
      launch(shuffle_kernel<TestType>, dim3(1), dim3(64), 0, Stream{}, out.data(), operand, width);
      for (int thread = 0; thread < 64; ++thread)
        for (int kind = 0; kind < 4; ++kind) {
          CAPTURE(width, operand, thread, kind);
          REQUIRE(out[static_cast<std::size_t>(thread * 4 + kind)] ==
                  static_cast<TestType>(1000 + expected_source(kind, thread % 32, operand, width)));
        }
    }
  }
}

TEST_CASE("votes and matches") {
  std::vector<unsigned> out(64 * 4);
  launch(vote_kernel, dim3(1), dim3(64), 0, Stream{}, out.data());
  for (unsigned thread = 0; thread < 64; ++thread) {
    REQUIRE(out[thread * 4] == 0x42108421u);
    REQUIRE(out[thread * 4 + 1] == 2);
    REQUIRE(out[thread * 4 + 2] == 2);
    REQUIRE(out[thread * 4 + 3] == 0xffu << (thread % 32 / 8 * 8));
  }
}

TEST_CASE("warp reductions") {
  std::vector<int> out(32 * 4);
  launch(reduce_kernel, dim3(1), dim3(32), 0, Stream{}, out.data());
  for (std::size_t lane = 0; lane < 32; ++lane) {
    REQUIRE(out[lane * 4] == 31 * 16);
    REQUIRE(out[lane * 4 + 1] == -5);
    REQUIRE(out[lane * 4 + 2] == 31);
    REQUIRE(out[lane * 4 + 3] == -1);
  }
}

TEST_CASE("disjoint masks gather independently") {
  simt::run_in_every_order([](simt::OrderSetting) {
    std::vector<int> out(32);
    launch(halves_kernel, dim3(1), dim3(32), 0, Stream{}, out.data());
    for (int lane = 0; lane < 32; ++lane)
      REQUIRE(out[static_cast<std::size_t>(lane)] == (lane < 16 ? (lane + 7) % 16 : 16 + (lane + 3) % 16));
  });
}

TEST_CASE("a partial warp votes with the lanes it has") {
  std::vector<unsigned> out(40);
  launch(partial_warp_kernel, dim3(1), dim3(40), 0, Stream{}, out.data());
  CHECK(out[0] == kFull);
  CHECK(out[39] == 0xffu);
}

TEST_CASE("__syncwarp does not wait for lanes that have returned") {
  simt::run_in_every_order([](simt::OrderSetting) {
    std::vector<int> out(32, -1);
    launch(syncwarp_past_exited_kernel, dim3(1), dim3(32), 0, Stream{}, out.data());
    for (std::size_t lane = 0; lane < 32; ++lane)
      REQUIRE(out[lane] == (lane % 4 == 3 ? -1 : static_cast<int>(lane / 4 * 4 + (lane + 1) % 3)));
  });
}

}  // namespace zeroth::ZEROTH_NATIVE
