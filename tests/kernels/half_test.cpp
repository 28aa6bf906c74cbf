#include "kernels/core/half.h"

#include <cmath>
#include <limits>

#include "tests/catch.h"

using namespace zeroth;

namespace {

/// The layout of a 16-bit type, and its conversions under test.
struct Bf16 {
  using type = bf16;
  static constexpr int kExponentBits = 8, kMantissaBits = 7;
  static bf16 from(float x) { return to_bf16(x); }
};
struct F16 {
  using type = f16;
  static constexpr int kExponentBits = 5, kMantissaBits = 10;
  static f16 from(float x) { return to_f16(x); }
};

template <class Format>
constexpr unsigned kInfinityBits = ((1u << Format::kExponentBits) - 1) << Format::kMantissaBits;

/// What a pattern means, from the definition of the format. NaN patterns give NaN.
template <class Format>
double decode(unsigned bits) {
  const unsigned mantissa = bits & ((1u << Format::kMantissaBits) - 1);
  const unsigned magnitude = bits & 0x7fffu;
  const int exponent = static_cast<int>(magnitude >> Format::kMantissaBits);
  const int bias = (1 << (Format::kExponentBits - 1)) - 1;
  double value;
  if (magnitude == kInfinityBits<Format>)
    value = std::numeric_limits<double>::infinity();
  else if (magnitude > kInfinityBits<Format>)
    return std::numeric_limits<double>::quiet_NaN();
  else if (exponent == 0)
    value = std::ldexp(mantissa, 1 - bias - Format::kMantissaBits);
  else
    value = std::ldexp((1u << Format::kMantissaBits) + mantissa, exponent - bias - Format::kMantissaBits);
  return (bits & 0x8000u) != 0 ? -value : value;
}

template <class Format>
unsigned round_to(float x) {
  return Format::from(x).bits;
}

/// Every pattern means what the format says and comes back unchanged (a NaN as some NaN).
template <class Format>
int wrong_patterns() {
  int wrong = 0;
  for (unsigned bits = 0; bits < 0x10000u; ++bits) {
    const float value = to_float(typename Format::type{static_cast<std::uint16_t>(bits)});
    const double expected = decode<Format>(bits);
    if (std::isnan(expected)) {
      wrong += !std::isnan(value) || (round_to<Format>(value) & 0x7fffu) <= kInfinityBits<Format>;
      continue;
    }
    wrong += static_cast<double>(value) != expected || std::signbit(value) != ((bits & 0x8000u) != 0) ||
             round_to<Format>(value) != bits;
  }
  return wrong;
}

/// Between every two neighbours: halfway goes to the even one, a float above or below it to the nearer one.
/// The largest finite value's neighbour is infinity, as if it were the next power of two.
template <class Format>
int wrong_roundings() {
  int wrong = 0;
  for (unsigned low = 0; low < kInfinityBits<Format>; ++low) {
    const unsigned high = low + 1, even = low % 2 == 0 ? low : high;
    const double below = decode<Format>(low);
    const double above =
        high < kInfinityBits<Format> ? decode<Format>(high) : 2 * below - decode<Format>(low - 1);
    const double middle = (below + above) / 2;
    const auto halfway = static_cast<float>(middle);
    if (static_cast<double>(halfway) != middle) return -1;  // the test's own assumption
    for (const unsigned sign : {0u, 0x8000u}) {
      const float s = sign == 0 ? 1.0f : -1.0f;
      wrong += round_to<Format>(s * halfway) != (even | sign);
      wrong += round_to<Format>(s * std::nextafter(halfway, 0.0f)) != (low | sign);
      wrong += round_to<Format>(s * std::nextafter(halfway, std::numeric_limits<float>::infinity())) !=
               (high | sign);
    }
  }
  return wrong;
}

}  // namespace

TEST_CASE("every bf16 and f16 pattern converts to float and back", "[core][half]") {
  CHECK(wrong_patterns<Bf16>() == 0);
  CHECK(wrong_patterns<F16>() == 0);
}

TEST_CASE("conversions to bf16 and f16 round to nearest, ties to even", "[core][half]") {
  CHECK(wrong_roundings<Bf16>() == 0);
  CHECK(wrong_roundings<F16>() == 0);
}

TEST_CASE("conversions to bf16 and f16 at the ends of the range", "[core][half]") {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  CHECK(to_f16(65504.0f).bits == 0x7bff);
  CHECK(to_f16(65519.996f).bits == 0x7bff);
  CHECK(to_f16(65520.0f).bits == 0x7c00);
  CHECK(to_f16(std::numeric_limits<float>::max()).bits == 0x7c00);
  CHECK(to_f16(std::numeric_limits<float>::denorm_min()).bits == 0);
  CHECK(to_f16(-std::numeric_limits<float>::denorm_min()).bits == 0x8000);
  CHECK(to_bf16(std::numeric_limits<float>::max()).bits == 0x7f80);
  CHECK(to_f16(-kInfinity).bits == 0xfc00);
  CHECK(to_bf16(-kInfinity).bits == 0xff80);
  // A NaN whose payload lies only in the bits that are cut off must not become infinity.
  CHECK(std::isnan(to_float(to_bf16(std::bit_cast<float>(0x7f800001u)))));
  CHECK(std::isnan(to_float(to_f16(std::bit_cast<float>(0xff800001u)))));
}
