#include "data/dataset.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <map>
#include <string_view>

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
    case DataOrigin::own:
      return "own";
  }
  return "?";
}

const Normalisation* published_normalisation(const std::string& name) {
  static const std::map<std::string, Normalisation> known = {
      {"cifar10", {{0.49139968f, 0.48215841f, 0.44653091f}, {0.24703223f, 0.24348513f, 0.26158784f}}},
      {"cifar100", {{0.50707516f, 0.48654887f, 0.44091784f}, {0.26733429f, 0.25643846f, 0.27615047f}}},
      {"fashion-mnist", {{0.28604060f}, {0.35302425f}}},
      {"generated", {{0.49975324f, 0.50219989f, 0.49972919f}, {0.26365694f, 0.26414576f, 0.26413283f}}},
      {"mnist", {{0.13066048f}, {0.30810781f}}},
      {"svhn", {{0.4376821f, 0.4437697f, 0.47280442f}, {0.19803012f, 0.20101562f, 0.19703614f}}},
  };
  const auto found = known.find(name);
  return found == known.end() ? nullptr : &found->second;
}

Normalisation measure_normalisation(const Pictures& pictures) {
  require(pictures.count > 0, "no pictures to measure");
  const auto channels = static_cast<std::size_t>(pictures.channels);
  std::vector<std::array<std::uint64_t, 256>> histogram(channels);
  for (std::size_t i = 0; i < pictures.pixels.size(); i += channels) {
    for (std::size_t c = 0; c < channels; ++c) ++histogram[c][pictures.pixels[i + c]];
  }
  Normalisation result;
  const double count = static_cast<double>(pictures.pixels.size() / channels);
  for (const std::array<std::uint64_t, 256>& bins : histogram) {
    double sum = 0.0, squares = 0.0;
    for (std::size_t value = 0; value < bins.size(); ++value) {
      sum += static_cast<double>(bins[value]) * static_cast<double>(value);
    }
    const double mean = sum / count;
    for (std::size_t value = 0; value < bins.size(); ++value) {
      const double off = static_cast<double>(value) - mean;
      squares += static_cast<double>(bins[value]) * off * off;
    }
    const double stddev = std::sqrt(squares / count);
    result.mean.push_back(static_cast<float>(mean / 255.0));
    result.stddev.push_back(stddev > 0.0 ? static_cast<float>(stddev / 255.0) : 1.0f);
  }
  return result;
}

std::string print(const Normalisation& normalisation) {
  return fmt::format("{}/{}", fmt::join(normalisation.mean, ","), fmt::join(normalisation.stddev, ","));
}

namespace {

std::vector<float> parse_numbers(std::string_view text) {
  std::vector<float> numbers;
  while (true) {
    float number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || !std::isfinite(number)) return {};
    numbers.push_back(number);
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    if (text.empty()) return numbers;
    if (text.front() != ',') return {};
    text.remove_prefix(1);
  }
}

}  // namespace

Normalisation parse_normalisation(const std::string& text) {
  const std::size_t slash = text.find('/');
  Normalisation result;
  if (slash != std::string::npos) {
    result.mean = parse_numbers(std::string_view(text).substr(0, slash));
    result.stddev = parse_numbers(std::string_view(text).substr(slash + 1));
  }
  const bool positive =
      std::all_of(result.stddev.begin(), result.stddev.end(), [](float s) { return s > 0; });
  if (result.mean.empty() || result.mean.size() != result.stddev.size() || !positive) {
    fail(ErrorKind::usage,
         fmt::format("expected means and deviations such as 0.49,0.48,0.45/0.25,0.24,0.26, not '{}'", text));
  }
  return result;
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
