#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace zeroth {

/// Pictures with their labels, in host memory, exactly as stored: bytes, not normalised, not augmented.
struct Pictures {
  std::int64_t count = 0;
  int height = 0, width = 0, channels = 0;
  std::vector<std::uint8_t> pixels;  // (N, H, W, C), colour order R, G, B
  std::vector<std::int32_t> labels;  // (N), in [0, classes)

  std::int64_t bytes_each() const { return std::int64_t{height} * width * channels; }
};

/// How bytes become the network's input: (byte / 255 - mean[c]) / stddev[c].
struct Normalisation {
  std::vector<float> mean;    // (C)
  std::vector<float> stddev;  // (C)
};

/// What is known about where the bytes come from.
enum class DataOrigin {
  official,    ///< every file has its published SHA-256
  unofficial,  ///< the right layout, but other bytes: a copy, a subset or a conversion
  generated,   ///< drawn by zeroth itself
  own,         ///< somebody's own pictures, of which nothing is published
};

const char* name_of(DataOrigin origin);  // "official", "unofficial", "generated", "own"

/// A whole data set. Loading one costs 185 MB for CIFAR-10 and CIFAR-100.
struct Dataset {
  std::string name;  ///< as in DatasetLocation
  std::vector<std::string> class_names;
  Pictures train, test;
  Normalisation normalisation;
  DataOrigin origin = DataOrigin::unofficial;
  std::filesystem::path folder;      ///< empty when the pictures were generated in memory
  std::uint64_t content_hash = 0;    ///< see content_hash_of()
  std::optional<double> test_share;  ///< held out of one half for the test; none where the set has two
  bool mirrors = true;               ///< a picture mirrored left to right is still of its class
  std::vector<std::string> notices;  ///< lines for people: what was passed over

  int classes() const { return static_cast<int>(class_names.size()); }
};

/// The published constants of a set by its name, nothing where none are known. CIFAR-10: the training set's
/// mean and standard deviation as ReZero-ResNet uses them; CIFAR-100, MNIST, Fashion-MNIST, SVHN: the
/// commonly published ones, likewise; generated: those of its training set at the default seed.
const Normalisation* published_normalisation(const std::string& name);

/// The mean and standard deviation of each channel over all pixels, in units of [0, 1]: exact sums, the same
/// on every machine. A channel that is the same everywhere gets the deviation 1. Errors: usage, for no
/// pictures.
Normalisation measure_normalisation(const Pictures& pictures);

/// "0.491,0.482,0.447/0.247,0.243,0.262": the means, then the deviations, with as many digits as it takes to
/// read the same numbers back.
std::string print(const Normalisation& normalisation);
/// The reverse. Errors: usage, for other text, for numbers that are not finite and deviations that are not
/// positive.
Normalisation parse_normalisation(const std::string& text);

/// 64-bit hash of shapes, labels and pixels of both halves: equal sets hash equal wherever they lie and
/// however their files are cut. A checkpoint keeps it, so that a resumed run notices other data. Against
/// accidents, not against an adversary.
std::uint64_t content_hash_of(const Pictures& train, const Pictures& test);

}  // namespace zeroth
