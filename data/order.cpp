#include "data/order.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "kernels/core/error.h"
#include "kernels/core/philox.h"

namespace zeroth {
namespace {

/// A sequence of draws below a bound: 64 random bits each, so the bias is below bound / 2^64. One Philox call
/// serves two draws.
class DrawSequence {
 public:
  DrawSequence(std::uint64_t seed, std::uint32_t epoch, RandomUse use, std::uint64_t first_item)
      : seed_(seed), epoch_(epoch), use_(use), item_(first_item) {}

  std::uint32_t below(std::uint32_t bound) {
    if (next_ == 4) {
      words_ = philox(seed_, epoch_, item_++, use_);
      next_ = 0;
    }
    const std::uint64_t low = words_.word[next_], high = words_.word[next_ + 1];
    next_ += 2;
    // The upper 32 bits of (high : low) * bound / 2^32, without 128-bit arithmetic.
    return static_cast<std::uint32_t>((high * bound + ((low * bound) >> 32)) >> 32);
  }

 private:
  std::uint64_t seed_;
  std::uint32_t epoch_;
  RandomUse use_;
  std::uint64_t item_;
  PhiloxWords words_{};
  int next_ = 4;
};

/// Draws with replacement start here, far behind those of the permutation, so the two share no numbers.
constexpr std::uint64_t kReplacementItems = std::uint64_t{1} << 32;

void shuffle(std::vector<std::int32_t>& values, DrawSequence& draws) {
  for (std::size_t i = values.size(); i > 1; --i) {
    std::swap(values[i - 1], values[draws.below(static_cast<std::uint32_t>(i))]);
  }
}

void check_count(std::int64_t count) {
  if (count < 0 || count > std::numeric_limits<std::int32_t>::max()) {
    fail(ErrorKind::usage, fmt::format("cannot order {} examples: expected 0 to 2147483647", count));
  }
}

}  // namespace

std::vector<std::int32_t> epoch_order(std::uint64_t seed, std::uint32_t epoch, std::int64_t count) {
  check_count(count);
  std::vector<std::int32_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  DrawSequence draws(seed, epoch, RandomUse::shuffle, 0);
  shuffle(order, draws);
  return order;
}

std::vector<std::int32_t> epoch_order_with_replacement(std::uint64_t seed, std::uint32_t epoch,
                                                       std::int64_t count) {
  check_count(count);
  std::vector<std::int32_t> order(static_cast<std::size_t>(count));
  DrawSequence draws(seed, epoch, RandomUse::shuffle, kReplacementItems);
  for (std::int32_t& index : order) {
    index = static_cast<std::int32_t>(draws.below(static_cast<std::uint32_t>(count)));
  }
  return order;
}

namespace {

/// The indices of every class, ascending.
std::vector<std::vector<std::int32_t>> members_of(std::span<const std::int32_t> labels, int classes) {
  require(classes > 0, "a split needs at least one class");
  check_count(static_cast<std::int64_t>(labels.size()));
  std::vector<std::vector<std::int32_t>> members(static_cast<std::size_t>(classes));
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < 0 || labels[i] >= classes) {
      fail(ErrorKind::usage,
           fmt::format("label {} of picture {} is outside 0..{}", labels[i], i, classes - 1));
    }
    members[static_cast<std::size_t>(labels[i])].push_back(static_cast<std::int32_t>(i));
  }
  return members;
}

/// Moves `count` of a class, drawn, into the validation half, the others into the training half.
void hold_out(std::vector<std::int32_t>& indices, std::size_t count, DrawSequence draws, Split& split) {
  shuffle(indices, draws);
  const auto cut = indices.begin() + static_cast<std::ptrdiff_t>(count);
  split.validation.insert(split.validation.end(), indices.begin(), cut);
  split.train.insert(split.train.end(), cut, indices.end());
}

void sort_halves(Split& split) {
  std::sort(split.train.begin(), split.train.end());
  std::sort(split.validation.begin(), split.validation.end());
}

}  // namespace

Split class_balanced_split(std::span<const std::int32_t> labels, int classes, std::int64_t validation_count,
                           std::uint64_t seed) {
  require(classes > 0, "a split needs at least one class");
  if (validation_count < 0 || validation_count % classes != 0) {
    fail(ErrorKind::usage,
         fmt::format("cannot hold out {} validation pictures: expected 0 or a multiple of the {} classes",
                     validation_count, classes));
  }
  std::vector<std::vector<std::int32_t>> members = members_of(labels, classes);
  const auto each = static_cast<std::size_t>(validation_count / classes);
  Split split;
  for (std::size_t label = 0; label < members.size(); ++label) {
    if (each > 0 && each >= members[label].size()) {
      fail(
          ErrorKind::usage,
          fmt::format("cannot hold out {} validation pictures: class {} has only {}, and {} of them would go",
                      validation_count, label, members[label].size(), each));
    }
    hold_out(members[label], each, DrawSequence(seed, static_cast<std::uint32_t>(label), RandomUse::split, 0),
             split);
  }
  sort_halves(split);
  return split;
}

Split share_split(std::span<const std::int32_t> labels, int classes, double share) {
  require(share > 0.0 && share < 1.0, "a share to hold out lies between 0 and 1");
  std::vector<std::vector<std::int32_t>> members = members_of(labels, classes);
  Split split;
  for (std::size_t label = 0; label < members.size(); ++label) {
    const std::size_t count = members[label].size();
    require(count >= 2, "it takes two examples of a class to hold one out");
    const auto wanted = static_cast<std::size_t>(std::lround(share * static_cast<double>(count)));
    // Other draws than those of a validation split with the same seed.
    hold_out(members[label], std::clamp<std::size_t>(wanted, 1, count - 1),
             DrawSequence(0, static_cast<std::uint32_t>(label), RandomUse::split, kReplacementItems), split);
  }
  sort_halves(split);
  return split;
}

}  // namespace zeroth
