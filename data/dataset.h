#pragma once

#include <cstdint>
#include <filesystem>
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
};

const char* name_of(DataOrigin origin);  // "official", "unofficial", "generated"

/// A whole data set. Loading one costs 185 MB for CIFAR-10 and CIFAR-100.
struct Dataset {
  std::string name;  ///< "cifar10", "cifar100" or "generated"
  std::vector<std::string> class_names;
  Pictures train, test;
  Normalisation normalisation;
  DataOrigin origin = DataOrigin::unofficial;
  std::filesystem::path folder;    ///< empty when the pictures were generated in memory
  std::uint64_t content_hash = 0;  ///< see content_hash_of()

  int classes() const { return static_cast<int>(class_names.size()); }
};

/// Normalisation constants of a set by its name. CIFAR-10: the training set's mean and standard deviation as
/// ReZero-ResNet uses them; CIFAR-100: the commonly published ones, likewise; generated: those of its
/// training set at the default seed. Errors: usage, for another name.
const Normalisation& normalisation_of(const std::string& name);

/// 64-bit hash of shapes, labels and pixels of both halves: equal sets hash equal wherever they lie and
/// however their files are cut. A checkpoint keeps it, so that a resumed run notices other data. Against
/// accidents, not against an adversary.
std::uint64_t content_hash_of(const Pictures& train, const Pictures& test);

}  // namespace zeroth
