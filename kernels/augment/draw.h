#pragma once

#include <type_traits>

#include "kernels/augment/augment.h"
#include "kernels/core/philox.h"

namespace zeroth {

/// What happens to one picture of one epoch; see the contract in augment.h.
struct AugmentDraw {
  bool flip;
  std::int32_t dy, dx;
  std::int32_t top, left;  // of the cutout, from -cutout / 2 on
};

/// `batch` as the contract has it: {seed low, seed high, epoch, first}.
ZEROTH_HD inline AugmentDraw draw_augmentation(const std::int32_t* batch, std::uint64_t picture,
                                               const AugmentParams& params) {
  const std::uint64_t seed = static_cast<std::uint32_t>(batch[0]) |
                             (static_cast<std::uint64_t>(static_cast<std::uint32_t>(batch[1])) << 32);
  const auto epoch = static_cast<std::uint32_t>(batch[2]);
  const Augmentation& how = params.augmentation;
  const PhiloxWords u = philox(seed, epoch, picture, RandomUse::augment);
  bool flip = how.flip == Flip::always;
  if (how.flip == Flip::random) flip = (u.word[0] & 1u) != 0;
  if (how.flip == Flip::alternating)
    flip = ((epoch + philox(seed, 0, picture, RandomUse::augment).word[0]) & 1u) != 0;
  const auto padding = static_cast<std::int32_t>(how.crop_padding);
  const auto range = static_cast<std::uint32_t>(2 * padding + 1);
  const auto half = static_cast<std::int32_t>(how.cutout / 2);
  const std::uint64_t low = u.word[3] & 0xffffu, high = u.word[3] >> 16;
  return {flip,
          static_cast<std::int32_t>(uniform_below(u.word[1], range)) - padding +
              static_cast<std::int32_t>(params.shift_y),
          static_cast<std::int32_t>(uniform_below(u.word[2], range)) - padding +
              static_cast<std::int32_t>(params.shift_x),
          static_cast<std::int32_t>((low * static_cast<std::uint64_t>(params.h)) >> 16) - half,
          static_cast<std::int32_t>((high * static_cast<std::uint64_t>(params.w)) >> 16) - half};
}

/// Pixel i of a line of n that is mirrored at both edges, -n < i < 2 n - 1: ... 2 1 | 0 1 ... n-1 | n-2 ...
template <class Int>
ZEROTH_HD Int reflected(Int i, Int n) {
  const Int from_left = i < 0 ? -i : i, from_right = n - 1 - from_left;
  return n - 1 - (from_right < 0 ? -from_right : from_right);
}

/// Whether pixel (row, column) of x lies in the cutout.
template <class Int>
ZEROTH_HD bool is_cut_out(const AugmentDraw& draw, Int cutout, Int row, Int column) {
  using Unsigned = std::make_unsigned_t<Int>;
  return static_cast<Unsigned>(row - draw.top) < static_cast<Unsigned>(cutout) &&
         static_cast<Unsigned>(column - draw.left) < static_cast<Unsigned>(cutout);
}

}  // namespace zeroth
