#pragma once

#include "kernels/core/philox.h"

namespace zeroth {

/// What happens to one picture of one epoch; see the contract in augment.h.
struct AugmentDraw {
  bool flip;
  std::int32_t dy, dx;
};

/// `batch` as the contract has it: {seed low, seed high, epoch, first}.
ZEROTH_HD inline AugmentDraw draw_augmentation(const std::int32_t* batch, std::uint64_t picture, bool flip,
                                               std::int32_t crop_padding) {
  const std::uint64_t seed = static_cast<std::uint32_t>(batch[0]) |
                             (static_cast<std::uint64_t>(static_cast<std::uint32_t>(batch[1])) << 32);
  const PhiloxWords u = philox(seed, static_cast<std::uint32_t>(batch[2]), picture, RandomUse::augment);
  const auto range = static_cast<std::uint32_t>(2 * crop_padding + 1);
  return {flip && (u.word[0] & 1u) != 0,
          static_cast<std::int32_t>(uniform_below(u.word[1], range)) - crop_padding,
          static_cast<std::int32_t>(uniform_below(u.word[2], range)) - crop_padding};
}

}  // namespace zeroth
