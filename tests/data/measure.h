#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "data/dataset.h"

namespace zeroth::test {

/// Mean and standard deviation of each channel over all pictures, in units of [0, 1]: what the constants of
/// normalisation_of() are held against.
inline Normalisation measure_normalisation(const Pictures& pictures) {
  const auto channels = static_cast<std::size_t>(pictures.channels);
  // Sums of bytes and of their squares are exact in 64 bits for any set that fits in memory.
  std::vector<std::uint64_t> sum(channels, 0), squares(channels, 0);
  for (std::size_t i = 0; i < pictures.pixels.size(); i += channels) {
    for (std::size_t c = 0; c < channels; ++c) {
      const std::uint64_t value = pictures.pixels[i + c];
      sum[c] += value;
      squares[c] += value * value;
    }
  }
  const double count = static_cast<double>(pictures.pixels.size() / channels);
  Normalisation result;
  for (std::size_t c = 0; c < channels; ++c) {
    const double mean = static_cast<double>(sum[c]) / count;
    const double variance = static_cast<double>(squares[c]) / count - mean * mean;
    result.mean.push_back(static_cast<float>(mean / 255.0));
    result.stddev.push_back(static_cast<float>(std::sqrt(variance) / 255.0));
  }
  return result;
}

}  // namespace zeroth::test
