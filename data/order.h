#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace zeroth {

/// The order in which one epoch visits `count` examples: a permutation of 0..count-1 that depends on (seed,
/// epoch, count) only, so it is the same on every machine, rank and thread count, and a resumed run can ask
/// for any epoch. A Fisher-Yates shuffle over Philox draws: O(count), 50,000 in about a millisecond. Errors:
/// usage, for a count outside [0, 2^31).
std::vector<std::int32_t> epoch_order(std::uint64_t seed, std::uint32_t epoch, std::int64_t count);

/// `count` independent draws from 0..count-1, with replacement: about 63 % of the examples appear in an
/// epoch. (The published ReZero curves were sampled like this.) Depends on (seed, epoch, count) only.
std::vector<std::int32_t> epoch_order_with_replacement(std::uint64_t seed, std::uint32_t epoch,
                                                       std::int64_t count);

/// Disjoint indices into one training set, each ascending.
struct Split {
  std::vector<std::int32_t> train;
  std::vector<std::int32_t> validation;
};

/// Holds out `validation_count` examples, the same number of every class, drawn by seed: 5,000 of CIFAR-10's
/// 50,000 leave 45,000 and take 500 a class. 0 holds out nothing. labels: (N), each in [0, classes).
/// Errors: usage, when validation_count is negative or no multiple of `classes`, when a class would keep no
/// training example, or when a label is out of range.
Split class_balanced_split(std::span<const std::int32_t> labels, int classes, std::int64_t validation_count,
                           std::uint64_t seed);

/// Holds out a share of every class, rounded, at least one and at most all but one of it. Depends on (labels,
/// share) only. labels: (N), each in [0, classes), each class twice at least. Errors: usage, for a share
/// outside (0, 1), a label out of range, a class with less than two examples.
Split share_split(std::span<const std::int32_t> labels, int classes, double share);

}  // namespace zeroth
