#include "data/order.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <set>

#include "data/generated.h"
#include "tests/data/scratch.h"

namespace zeroth::test {

TEST_CASE("an epoch's order is a permutation of its own", "[order]") {
  const std::vector<std::int32_t> order = epoch_order(7, 3, 50000);
  std::vector<std::int32_t> sorted = order;
  std::sort(sorted.begin(), sorted.end());
  std::vector<std::int32_t> all(50000);
  std::iota(all.begin(), all.end(), 0);
  CHECK(sorted == all);
  CHECK(epoch_order(7, 3, 50000) == order);
  CHECK(epoch_order(7, 4, 50000) != order);
  CHECK(epoch_order(8, 3, 50000) != order);
  CHECK(epoch_order(7, 3, 0).empty());
  CHECK(epoch_order(7, 3, 1) == std::vector<std::int32_t>{0});
  message_of(ErrorKind::usage, [] { epoch_order(0, 0, -1); });
  // Fixed once and for all: a checkpoint is resumed by other builds and on other machines.
  CHECK(epoch_order(0, 0, 10) == std::vector<std::int32_t>{9, 3, 6, 7, 1, 8, 4, 2, 5, 0});
}

TEST_CASE("every order of three is as likely", "[order]") {
  std::vector<int> seen(27, 0);
  constexpr int kDraws = 12000;
  for (int i = 0; i < kDraws; ++i) {
    const std::vector<std::int32_t> order = epoch_order(static_cast<std::uint64_t>(i) << 20, 1, 3);
    ++seen[static_cast<std::size_t>(order[0] * 9 + order[1] * 3 + order[2])];
  }
  // Binomial with p = 1/6: standard deviation 41, so 5 of them.
  for (const int count : seen) {
    if (count != 0) CHECK(std::abs(count - kDraws / 6) < 205);
  }
  CHECK(std::count(seen.begin(), seen.end(), 0) == 21);
}

TEST_CASE("drawing with replacement leaves 1/e of the examples out", "[order]") {
  const std::vector<std::int32_t> drawn = epoch_order_with_replacement(1, 0, 50000);
  CHECK(drawn == epoch_order_with_replacement(1, 0, 50000));
  const std::set<std::int32_t> distinct(drawn.begin(), drawn.end());
  CHECK(*distinct.begin() >= 0);
  CHECK(*distinct.rbegin() < 50000);
  CHECK(std::abs(static_cast<double>(distinct.size()) - 50000 * 0.632121) < 500);
}

TEST_CASE("a split takes the same number of every class", "[order]") {
  std::vector<std::int32_t> labels;
  for (int i = 0; i < 50000; ++i) labels.push_back((i * 7 + i / 13) % 10);
  std::vector<int> have(10, 0), held(10, 0);
  for (const std::int32_t label : labels) ++have[static_cast<std::size_t>(label)];
  const Split split = class_balanced_split(labels, 10, 5000, 42);
  CHECK(split.train.size() == 45000);
  CHECK(split.validation.size() == 5000);
  for (const std::int32_t i : split.validation)
    ++held[static_cast<std::size_t>(labels[static_cast<std::size_t>(i)])];
  CHECK(held == std::vector<int>(10, 500));
  std::vector<std::int32_t> all;
  std::merge(split.train.begin(), split.train.end(), split.validation.begin(), split.validation.end(),
             std::back_inserter(all));
  std::vector<std::int32_t> expected(50000);
  std::iota(expected.begin(), expected.end(), 0);
  CHECK(all == expected);  // both ascending, disjoint, complete
  CHECK(class_balanced_split(labels, 10, 5000, 42).validation == split.validation);
  CHECK(class_balanced_split(labels, 10, 5000, 43).validation != split.validation);
  CHECK(class_balanced_split(labels, 10, 0, 42).train == expected);

  const auto message = [&](std::int64_t count) {
    return message_of(ErrorKind::usage, [&] { class_balanced_split(labels, 10, count, 0); });
  };
  CHECK(contains(message(-10), "-10"));
  CHECK(contains(message(5001), "multiple of the 10 classes"));
  CHECK(contains(message(50000), "has only"));
  message_of(ErrorKind::usage, [&] { class_balanced_split(labels, 9, 9, 0); });
}

TEST_CASE("the generated set is the same everywhere", "[generated]") {
  const auto start = std::chrono::steady_clock::now();
  const Dataset set = generate_dataset();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  CHECK(took.count() < 20.0);  // 0.3 s optimised; sanitizers and debug builds are slower
  CHECK(set.train.count == kGeneratedTrainCount);
  CHECK(set.test.count == kGeneratedTestCount);
  CHECK(set.train.pixels.size() == static_cast<std::size_t>(set.train.count * set.train.bytes_each()));
  CHECK(set.content_hash == 0x0afd3491fdc02f90u);
  const Normalisation measured = measure_normalisation(set.train);
  for (std::size_t c = 0; c < 3; ++c) {
    CHECK(std::abs(set.normalisation.mean[c] - measured.mean[c]) < 1e-6f);
    CHECK(std::abs(set.normalisation.stddev[c] - measured.stddev[c]) < 1e-6f);
  }
}

TEST_CASE("a prefix of the generated set is the smaller set", "[generated]") {
  const Dataset large = generate_dataset(5, 40, 20), small = generate_dataset(5, 20, 10);
  CHECK(std::equal(small.train.pixels.begin(), small.train.pixels.end(), large.train.pixels.begin()));
  CHECK(std::equal(small.test.pixels.begin(), small.test.pixels.end(), large.test.pixels.begin()));
  CHECK_FALSE(std::equal(small.test.pixels.begin(), small.test.pixels.end(), large.train.pixels.begin()));
  CHECK(generate_dataset(6, 20, 10).train.pixels != small.train.pixels);
  message_of(ErrorKind::usage, [] { generate_dataset(0, -1, 0); });
}

}  // namespace zeroth::test
