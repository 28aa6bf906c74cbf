#include "kernels/core/philox.h"

#include <array>
#include <set>

#include "tests/catch.h"

using namespace zeroth;

namespace {

std::array<std::uint32_t, 4> words_of(const PhiloxWords& words) {
  return {words.word[0], words.word[1], words.word[2], words.word[3]};
}

}  // namespace

// The known-answer vectors of philox4x32-10 published with Random123 (kat_vectors).
TEST_CASE("philox gives the published known answers", "[core][philox]") {
  using Words = std::array<std::uint32_t, 4>;
  CHECK(words_of(philox(std::uint64_t{0}, 0, 0, 0, std::uint32_t{0})) ==
        Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(words_of(philox(0xffffffffffffffffULL, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff)) ==
        Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(words_of(philox(0x299f31d0a4093822ULL, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344)) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("a draw's counter is (item low, item high, epoch, use)", "[core][philox]") {
  const std::uint64_t seed = 0x0123456789abcdefULL, item = 0xfedcba9876543210ULL;
  CHECK(words_of(philox(seed, 7, item, RandomUse::augment)) ==
        words_of(philox(seed, 0x76543210, 0xfedcba98, 7, 2)));
}

TEST_CASE("draws of different seeds, epochs, items and uses differ", "[core][philox]") {
  std::set<std::array<std::uint32_t, 4>> seen;
  std::size_t draws = 0;
  for (const std::uint64_t seed : {0ULL, 1ULL, 1ULL << 32})
    for (std::uint32_t epoch = 0; epoch < 3; ++epoch)
      for (const std::uint64_t item : {0ULL, 1ULL, 2ULL, 1ULL << 32})
        for (const RandomUse use : {RandomUse::initialise, RandomUse::shuffle, RandomUse::augment}) {
          seen.insert(words_of(philox(seed, epoch, item, use)));
          ++draws;
        }
  CHECK(seen.size() == draws);
}

TEST_CASE("uniform_below covers its range evenly", "[core][philox]") {
  CHECK(uniform_below(0, 9) == 0);
  CHECK(uniform_below(0xffffffff, 9) == 8);
  CHECK(uniform_below(0xffffffff, 1) == 0);
  std::array<int, 9> count{};
  constexpr int kDraws = 90000;
  for (std::uint32_t item = 0; item < kDraws / 4; ++item)
    for (const std::uint32_t word : words_of(philox(5, 0, item, RandomUse::test)))
      ++count[uniform_below(word, 9)];
  // Each count is binomial with mean 10000 and standard deviation 94: six of those are never left by chance.
  for (const int hits : count) CHECK(std::abs(hits - kDraws / 9) < 6 * 94);
}

TEST_CASE("uniform_unit lies above 0 and up to 1", "[core][philox]") {
  CHECK(uniform_unit(0) > 0.0f);
  CHECK(uniform_unit(0) == 1.0f / 16777216.0f);
  CHECK(uniform_unit(0xffffffff) == 1.0f);
}
