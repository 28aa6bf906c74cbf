#pragma once

#include <array>
#include <cstdint>

#include "kernels/core/host_device.h"

namespace zeroth {

/// What a random draw is for: part of the counter, so that two uses never share numbers.
enum class RandomUse : std::uint32_t {
  initialise = 0,
  shuffle = 1,
  augment = 2,
  split = 3,
  generate = 4,
  test = 5,
  mixup = 6
};

/// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011): four
/// 32-bit words from a 128-bit counter and a 64-bit key. Counter-based, so every device and every rank draws
/// the same numbers for the same (seed, epoch, item, use), in any order.
struct PhiloxWords {
  std::uint32_t word[4];
};

ZEROTH_HD inline PhiloxWords philox(std::uint64_t key, std::uint32_t c0, std::uint32_t c1, std::uint32_t c2,
                                    std::uint32_t c3) {
  std::uint32_t k0 = static_cast<std::uint32_t>(key);
  std::uint32_t k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c0;
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * c2;
    const std::uint32_t n0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const std::uint32_t n2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<std::uint32_t>(p1);
    c3 = static_cast<std::uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

/// The draw for one item of one epoch: counter (item low, item high, epoch, use).
ZEROTH_HD inline PhiloxWords philox(std::uint64_t seed, std::uint32_t epoch, std::uint64_t item,
                                    RandomUse use) {
  return philox(seed, static_cast<std::uint32_t>(item), static_cast<std::uint32_t>(item >> 32), epoch,
                static_cast<std::uint32_t>(use));
}

/// Maps a word to [0, bound) without division; the bias is below bound / 2^32.
ZEROTH_HD inline std::uint32_t uniform_below(std::uint32_t word, std::uint32_t bound) {
  return static_cast<std::uint32_t>((std::uint64_t{word} * bound) >> 32);
}

/// Maps a word to (0, 1]: never 0, so its logarithm is finite.
ZEROTH_HD inline float uniform_unit(std::uint32_t word) {
  return (static_cast<float>(word >> 8) + 1.0f) * (1.0f / 16777216.0f);
}

}  // namespace zeroth
