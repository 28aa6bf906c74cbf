#include "data/dataset.h"

#include <bit>
#include <cstring>
#include <map>

#include "kernels/core/error.h"

namespace zeroth {

const char* name_of(DataOrigin origin) {
  switch (origin) {
    case DataOrigin::official:
      return "official";
    case DataOrigin::unofficial:
      return "unofficial";
    case DataOrigin::generated:
      return "generated";
  }
  return "?";
}

const Normalisation& normalisation_of(const std::string& name) {
  static const std::map<std::string, Normalisation> known = {
      {"cifar10", {{0.49139968f, 0.48215841f, 0.44653091f}, {0.24703223f, 0.24348513f, 0.26158784f}}},
      {"cifar100", {{0.50707516f, 0.48654887f, 0.44091784f}, {0.26733429f, 0.25643846f, 0.27615047f}}},
      {"generated", {{0.49975324f, 0.50219989f, 0.49972919f}, {0.26365694f, 0.26414576f, 0.26413283f}}},
  };
  const auto found = known.find(name);
  if (found == known.end()) {
    fail(ErrorKind::usage,
         "no normalisation constants for '" + name + "': known are cifar10, cifar100 and generated");
  }
  return found->second;
}

namespace {

/// Four independent multiply-rotate lanes, as in XXH64, so that the hash runs at memory speed. Words are read
/// as little endian on every machine.
class ContentHash {
 public:
  void add(const void* data, std::size_t size) {
    const auto* bytes = static_cast<const std::uint8_t*>(data);
    std::size_t i = 0;
    for (; i + 32 <= size; i += 32) {
      for (std::size_t lane = 0; lane < 4; ++lane) mix(lane, word_at(bytes + i + 8 * lane, 8));
    }
    for (std::size_t lane = 0; i < size; i += 8, ++lane) {
      mix(lane, word_at(bytes + i, std::min<std::size_t>(8, size - i)));
    }
    add_number(size);
  }

  void add_number(std::uint64_t value) { mix(0, value); }

  std::uint64_t value() const {
    std::uint64_t hash = 0;
    for (const std::uint64_t lane : lanes_) hash = (std::rotl(hash, 27) ^ lane) * kOdd2;
    hash = (hash ^ (hash >> 33)) * kOdd1;
    return hash ^ (hash >> 29);
  }

 private:
  static constexpr std::uint64_t kOdd1 = 0x9E3779B185EBCA87u, kOdd2 = 0xC2B2AE3D27D4EB4Fu;

  static std::uint64_t word_at(const std::uint8_t* bytes, std::size_t size) {
    if constexpr (std::endian::native == std::endian::little) {
      std::uint64_t word = 0;
      std::memcpy(&word, bytes, size);
      return word;
    }
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < size; ++i) word |= std::uint64_t{bytes[i]} << (8 * i);
    return word;
  }

  void mix(std::size_t lane, std::uint64_t word) {
    lanes_[lane] = std::rotl(lanes_[lane] + word * kOdd2, 31) * kOdd1;
  }

  std::uint64_t lanes_[4] = {kOdd1, kOdd2, kOdd1 ^ kOdd2, kOdd1 + kOdd2};
};

}  // namespace

std::uint64_t content_hash_of(const Pictures& train, const Pictures& test) {
  ContentHash hash;
  for (const Pictures* half : {&train, &test}) {
    for (const std::int64_t extent :
         {half->count, std::int64_t{half->height}, std::int64_t{half->width}, std::int64_t{half->channels}}) {
      hash.add_number(static_cast<std::uint64_t>(extent));
    }
    for (const std::int32_t label : half->labels) hash.add_number(static_cast<std::uint64_t>(label));
    hash.add(half->pixels.data(), half->pixels.size());
  }
  return hash.value();
}

}  // namespace zeroth
