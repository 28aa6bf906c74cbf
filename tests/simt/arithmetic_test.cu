#include <cmath>
#include <limits>
#include <vector>

#include "kernels/core/block.cuh"
#include "tests/catch.h"

namespace zeroth::ZEROTH_NATIVE {

namespace {

template <class T>
__global__ void atomics_kernel(T* cells) {
  const T value = static_cast<T>(threadIdx.x + 1);
  atomicAdd(&cells[0], value);
  atomicMax(&cells[1], value);
  atomicMin(&cells[2], value);
  T old = atomicAdd(&cells[3], 0), assumed;
  do {
    assumed = old;
    old = atomicCAS(&cells[3], assumed, assumed + 2);
  } while (old != assumed);
  atomicExch(&cells[4], 77);
}

template <class T>
__global__ void float_sum_kernel(T* sum, T* order) {
  order[threadIdx.x] = atomicAdd(sum, T{0.5});
}

__global__ void counter_kernel(unsigned* counter) {
  atomicInc(counter, 9);
  atomicOr(counter + 1, 1u << (threadIdx.x % 32));
  atomicDec(counter + 2, 100);
}

// The usual end of a reduction over blocks: whoever comes last adds up.
__global__ void last_block_kernel(const float* x, float* partial, unsigned* done, float* sum) {
  ZEROTH_SHARED(float, slots, [32]);
  ZEROTH_SHARED(bool, is_last, [1]);
  const float part = block_sum(x[blockIdx.x * blockDim.x + threadIdx.x], &slots[0]);
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = part;
    __threadfence();
    is_last[0] = atomicAdd(done, 1) == gridDim.x - 1;
  }
  __syncthreads();
  if (!is_last[0] || threadIdx.x != 0) return;
  __threadfence();
  float total = 0.0f;
  for (unsigned b = 0; b < gridDim.x; ++b) total += partial[b];
  *sum = total;
}

__global__ void vector_kernel(const float4* x, float4* y, int2* z, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= count) return;
  const float4 v = __ldg(x + i);
  y[i] = make_float4(v.w, v.z, v.y, v.x);
  z[i] = make_int2(i, -i);
#pragma unroll 4
  for (int k = 0; k < 4; ++k) y[i].x += 0.0f;
}

}  // namespace

TEMPLATE_TEST_CASE("integer atomics", "", int, unsigned, unsigned long long) {
  simt::run_in_every_order([](simt::OrderSetting) {
    std::vector<TestType> cells{0, 0, 1000, 0, 0};
    launch(atomics_kernel<TestType>, dim3(3), dim3(100), 0, Stream{}, cells.data());
    REQUIRE(cells == std::vector<TestType>{3 * 5050, 100, 1, 600, 77});
  });
}

TEMPLATE_TEST_CASE("atomicAdd on floats returns the old value", "", float, double) {
  std::vector<TestType> order(64);
  TestType sum = 1;
  launch(float_sum_kernel<TestType>, dim3(1), dim3(64), 0, Stream{}, &sum, order.data());
  CHECK(sum == 33);
  for (std::size_t i = 0; i < order.size(); ++i) CHECK(order[i] == 1 + static_cast<TestType>(i) / 2);
}

TEST_CASE("wrapping counters and bits") {
  std::vector<unsigned> counter{0, 0, 3};
  launch(counter_kernel, dim3(1), dim3(37), 0, Stream{}, counter.data());
  CHECK(counter == std::vector<unsigned>{7, 0xffffffffu, 67});
}

TEST_CASE("the last block sees what the others wrote before their fence") {
  simt::run_in_every_order([](simt::OrderSetting) {
    std::vector<float> x(16 * 64, 0.25f), partial(16);
    unsigned done = 0;
    float sum = 0;
    launch(last_block_kernel, dim3(16), dim3(64), 0, Stream{}, x.data(), partial.data(), &done, &sum);
    REQUIRE(sum == 256.0f);
  });
}

TEST_CASE("vector types load and store whole") {
  static_assert(sizeof(float4) == 16 && alignof(float4) == 16 && alignof(int2) == 8 && alignof(uint4) == 16);
  static_assert(alignof(double2) == 16 && sizeof(float3) == 12 && alignof(uchar4) == 4);
  std::vector<float4> x(33), y(33);
  std::vector<int2> z(33);
  for (int i = 0; i < 33; ++i) x[static_cast<std::size_t>(i)] = make_float4(static_cast<float>(i), 1, 2, 3);
  launch(vector_kernel, dim3(2), dim3(32), 0, Stream{}, x.data(), y.data(), z.data(), 33);
  CHECK(y[32].x == 3);
  CHECK(y[32].w == 32);
  CHECK(z[32].y == -32);
}

TEST_CASE("integer intrinsics") {
  CHECK(__popc(0xf0f0u) == 8);
  CHECK(__popcll(~0ull) == 64);
  CHECK(__clz(0) == 32);
  CHECK(__clz(1) == 31);
  CHECK(__clz(-1) == 0);
  CHECK(__ffs(0) == 0);
  CHECK(__ffs(8) == 4);
  CHECK(__brev(0x00000001u) == 0x80000000u);
  CHECK(__brev(0x12345678u) == 0x1e6a2c48u);
  CHECK(__mul24(-3, 5) == -15);
  CHECK(__mul24(0x01000002, 3) == 6);
  CHECK(__umul24(0xff000002u, 3) == 6);
  CHECK(__umulhi(0x80000000u, 6) == 3);
  CHECK(__mulhi(-1, 2) == -1);
  CHECK(__umul64hi(1ull << 63, 6) == 3);
  CHECK(__funnelshift_l(0x80000000u, 1, 1) == 3);
  CHECK(__funnelshift_r(0, 1, 1) == 0x80000000u);
  CHECK(__float_as_uint(1.0f) == 0x3f800000u);
  CHECK(__int_as_float(0x40000000) == 2.0f);
}

TEST_CASE("float intrinsics and conversions") {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(),
                  kInfinity = std::numeric_limits<float>::infinity();
  CHECK(rsqrtf(4.0f) == 0.5f);
  CHECK(__expf(0.0f) == 1.0f);
  CHECK(__logf(1.0f) == 0.0f);
  CHECK(__fmaf_rn(2.0f, 3.0f, 1.0f) == 7.0f);
  CHECK(fmaf(2.0f, 3.0f, 1.0f) == 7.0f);
  CHECK(__fdividef(1.0f, 4.0f) == 0.25f);
  CHECK(__saturatef(kNan) == 0.0f);
  CHECK(__saturatef(2.0f) == 1.0f);
  CHECK(__float2int_rn(2.5f) == 2);
  CHECK(__float2int_rz(-2.7f) == -2);
  CHECK(__float2int_rd(-2.2f) == -3);
  CHECK(__float2int_ru(2.2f) == 3);
  CHECK(__float2int_rz(kNan) == 0);
  CHECK(__float2int_rz(kInfinity) == std::numeric_limits<int>::max());
  CHECK(__float2int_rz(-1e20f) == std::numeric_limits<int>::min());
  CHECK(__float2uint_rz(-1.0f) == 0);
  CHECK(__float2uint_rz(4294967296.0f) == std::numeric_limits<unsigned>::max());
}

TEST_CASE("min and max have CUDA's overloads") {
  CHECK(min(3, 4) == 3);
  CHECK(max(3, 4) == 4);
  CHECK(max(3u, 4) == 4u);
  CHECK(min(2.5, 1.0f) == 1.0);
  CHECK(max(1ll, 2) == 2ll);
  const float nan = std::nanf("");
  CHECK(max(nan, 1.0f) == 1.0f);
  CHECK(max(1.0f, nan) == 1.0f);
  CHECK(min(nan, 1.0f) == 1.0f);
}

}  // namespace zeroth::ZEROTH_NATIVE
