#include <cstring>
#include <vector>

#include "kernels/core/mma.cuh"
#include "tests/catch.h"

namespace zeroth::ZEROTH_NATIVE {

namespace {

__device__ inline std::uint32_t pack_bits(std::uint16_t low, std::uint16_t high) {
  return low | static_cast<std::uint32_t>(high) << 16;
}

// One (16, 16) by (16, 8) product per warp; fragments are loaded element by element, as the ISA's figures
// say.
template <class T>
__global__ void product_kernel(const T* a, const T* b, float* c) {
  const int lane = static_cast<int>(threadIdx.x % 32), group = lane / 4, pair = lane % 4 * 2;
  const int warp = static_cast<int>(threadIdx.x / 32);
  a += warp * 256;
  b += warp * 128;
  c += warp * 128;
  FragmentA fragment_a;
  FragmentB fragment_b;
  FragmentC fragment_c;
  for (int i = 0; i < 4; ++i) {
    const int row = group + i % 2 * 8, column = pair + i / 2 * 8;
    fragment_a.reg[i] = pack_bits(a[row * 16 + column].bits, a[row * 16 + column + 1].bits);
  }
  for (int i = 0; i < 2; ++i)
    fragment_b.reg[i] = pack_bits(b[(pair + i * 8) * 8 + group].bits, b[(pair + i * 8 + 1) * 8 + group].bits);
  for (int i = 0; i < 4; ++i) fragment_c.value[i] = c[(group + i / 2 * 8) * 8 + pair + i % 2];
  mma_m16n8k16<T>(fragment_c, fragment_a, fragment_b);
  for (int i = 0; i < 4; ++i) c[(group + i / 2 * 8) * 8 + pair + i % 2] = fragment_c.value[i];
}

// The same with both fragments loaded by the matrix loads: a as it lies, b transposed.
__global__ void loaded_product_kernel(const bf16* a, const bf16* b, float* c) {
  ZEROTH_SHARED(__align__(16) bf16, tile_a, [16][24]);
  ZEROTH_SHARED(__align__(16) bf16, tile_b, [32][8]);
  const int lane = static_cast<int>(threadIdx.x), group = lane / 4, pair = lane % 4 * 2;
  for (int i = lane; i < 256; i += 32) tile_a[i / 16][i % 16] = a[i];
  for (int i = lane; i < 256; i += 32) tile_b[i / 8][i % 8] = i < 128 ? b[i] : bf16{0};
  __syncwarp();
  FragmentA fragment_a;
  load_matrices_x4(fragment_a.reg, &tile_a[lane % 16][lane / 16 * 8]);
  std::uint32_t columns[4];
  load_matrices_x4<true>(columns, &tile_b[lane][0]);
  const FragmentB fragment_b{{columns[0], columns[1]}};
  FragmentC fragment_c{};
  mma_m16n8k16<bf16>(fragment_c, fragment_a, fragment_b);
  for (int i = 0; i < 4; ++i) c[(group + i / 2 * 8) * 8 + pair + i % 2] = fragment_c.value[i];
}

/// Small integers: every product and sum is exact in every format, so the order of addition does not matter.
template <class T>
std::vector<T> whole_numbers(std::size_t count, unsigned seed) {
  std::vector<T> values(count);
  for (T& value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = from_compute<T>(static_cast<float>(static_cast<int>(seed >> 28) - 8));
  }
  return values;
}

template <class T>
std::vector<float> plain_product(const T* a, const T* b, std::vector<float> c) {
  for (int row = 0; row < 16; ++row)
    for (int column = 0; column < 8; ++column)
      for (int k = 0; k < 16; ++k)
        c[static_cast<std::size_t>(row * 8 + column)] +=
            to_float(a[row * 16 + k]) * to_float(b[k * 8 + column]);
  return c;
}

}  // namespace

TEMPLATE_TEST_CASE("mma_m16n8k16 is a matrix product in the ISA's fragments", "", bf16, f16) {
  const auto a = whole_numbers<TestType>(2 * 256, 1), b = whole_numbers<TestType>(2 * 128, 2);
  simt::run_in_every_order([&](simt::OrderSetting) {
    std::vector<float> c(2 * 128);
    for (std::size_t i = 0; i < c.size(); ++i) c[i] = static_cast<float>(i);
    const std::vector<float> before = c;
    launch(product_kernel<TestType>, dim3(1), dim3(64), 0, Stream{}, a.data(), b.data(), c.data());
    for (std::size_t warp = 0; warp < 2; ++warp) {
      const auto begin = static_cast<std::ptrdiff_t>(warp * 128), end = begin + 128;
      const std::vector<float> expected = plain_product(a.data() + warp * 256, b.data() + warp * 128,
                                                        {before.begin() + begin, before.begin() + end});
      REQUIRE(std::vector<float>(c.begin() + begin, c.begin() + end) == expected);
    }
  });
}

TEST_CASE("matrix loads give the fragments that the product takes") {
  const auto a = whole_numbers<bf16>(256, 3), b = whole_numbers<bf16>(128, 4);
  simt::run_in_every_order([&](simt::OrderSetting) {
    std::vector<float> c(128);
    launch(loaded_product_kernel, dim3(1), dim3(32), 0, Stream{}, a.data(), b.data(), c.data());
    REQUIRE(c == plain_product(a.data(), b.data(), std::vector<float>(128)));
  });
}

}  // namespace zeroth::ZEROTH_NATIVE
