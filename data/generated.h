#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace zeroth {

inline constexpr std::int64_t kGeneratedTrainCount = 10'000;
inline constexpr std::int64_t kGeneratedTestCount = 2'000;
inline constexpr std::uint64_t kGeneratedSeed = 0;

/// What the ten classes show, by label: "horizontal_stripes", ... "triangle".
const std::vector<std::string>& generated_class_names();

/// Draws the generated set: 32 x 32 colour pictures of ten textures and shapes, each with its own two
/// colours, place, scale, lighting and noise. Integer arithmetic on Philox draws (seed, picture, train or
/// test), so every machine makes the same bytes; 12,000 pictures take well under 2 s on one core. Picture i
/// has label i mod 10, so any prefix is balanced; picture i of a larger set equals picture i of a smaller
/// one. Errors: usage, for a negative count.
Dataset generate_dataset(std::uint64_t seed = kGeneratedSeed, std::int64_t train_count = kGeneratedTrainCount,
                         std::int64_t test_count = kGeneratedTestCount);

}  // namespace zeroth
