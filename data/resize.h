#pragma once

#include <cstdint>
#include <span>

#include "data/dataset.h"

namespace zeroth {

/// The largest square in the middle of a picture, resampled to size x size. A pixel of the result is the mean
/// of those beneath it, weighted by a triangle that reaches as far as the pixel's neighbours' middles, in
/// source pixels at least one: bilinear where the picture grows, without aliasing where it shrinks (the
/// filter of Pillow's BILINEAR, in one rounding). The means are of stored bytes, as everybody's, not of
/// light. source: (height, width, channels); result: (size, size, channels).
void resample_square(std::span<const std::uint8_t> source, int width, int height, int channels, int size,
                     std::span<std::uint8_t> result);

/// All pictures of a half resampled to size x size; nothing happens where they are that already.
void resample_square(Pictures& pictures, int size);

}  // namespace zeroth
