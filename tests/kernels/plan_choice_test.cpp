#include "kernels/core/plan_choice.h"

#include <vector>

#include "tests/catch.h"

using namespace zeroth;

namespace {

/// A candidate of this speed, which takes so long to prepare.
struct Fake {
  std::vector<double> seconds;  // of its runs, over and over; none: it fails when it runs
  double preparation = 0.0;
  bool works = true;  // whether it can be prepared
};

struct Outcome {
  std::optional<std::size_t> fastest;
  std::vector<int> runs;  // of each
};

Outcome choose(const std::vector<Fake>& fakes, const TimingLimits& limits = {}) {
  double clock = 100.0;
  Outcome outcome{{}, std::vector<int>(fakes.size())};
  outcome.fastest = fastest_candidate(fakes.size(),
                                      {[&](std::size_t i) {
                                         clock += fakes[i].preparation;
                                         return fakes[i].works;
                                       },
                                       [&](std::size_t i) -> std::optional<double> {
                                         const std::vector<double>& all = fakes[i].seconds;
                                         const int run = outcome.runs[i]++;
                                         if (all.empty()) return std::nullopt;
                                         const double seconds =
                                             all[static_cast<std::size_t>(run) % all.size()];
                                         clock += seconds;
                                         return seconds;
                                       },
                                       [&] { return clock; }},
                                      limits);
  return outcome;
}

}  // namespace

TEST_CASE("the fastest candidate is taken", "[core][plan_choice]") {
  CHECK(choose({{{3e-6}}, {{1e-6}}, {{2e-6}}}).fastest == 1u);
  CHECK(choose({{{3e-6}}}).fastest == 0u);
  CHECK_FALSE(choose({}).fastest);
}

TEST_CASE("candidates that cannot be prepared or fail are passed over", "[core][plan_choice]") {
  CHECK(choose({{{1e-6}, 0.0, false}, {{}}, {{2e-6}}}).fastest == 2u);
  CHECK_FALSE(choose({{{1e-6}, 0.0, false}, {{}}}).fastest);
}

TEST_CASE("the library's own order decides what time does not", "[core][plan_choice]") {
  CHECK(choose({{{100e-6}}, {{98e-6}}}).fastest == 0u);
  CHECK(choose({{{100e-6}}, {{96e-6}}}).fastest == 1u);
}

TEST_CASE("one slow run does not decide", "[core][plan_choice]") {
  CHECK(choose({{{2e-6, 2e-6, 2e-6, 2e-6, 2e-6}}, {{1e-6, 90e-6, 1e-6, 90e-6, 1e-6}}}).fastest == 1u);
}

TEST_CASE("timing is bounded", "[core][plan_choice]") {
  const Outcome many = choose(std::vector<Fake>(12, {{1e-6}}));
  CHECK(many.runs == std::vector<int>{5, 5, 5, 5, 5, 5, 5, 5, 0, 0, 0, 0});
  // What cannot be prepared is no candidate.
  std::vector<Fake> few(3, {{1e-6}, 0.0, false});
  few.push_back({{1e-6}});
  CHECK(choose(few, {.candidates = 1}).fastest == 3u);
  // A hopeless one runs once.
  CHECK(choose({{{1e-6}}, {{5e-6}}, {{3e-6}}}).runs == std::vector<int>{5, 1, 5});
  // After the time is up none is prepared, however long the first took.
  const Outcome slow = choose({{{2e-6}, 7.0}, {{1e-6}}});
  CHECK(slow.fastest == 0u);
  CHECK(slow.runs == std::vector<int>{5, 0});
  CHECK(choose({{{2e-6}, 0.2}, {{1e-6}, 0.2}, {{5e-7}, 0.2}, {{1e-7}, 0.2}}).runs ==
        std::vector<int>{5, 5, 5, 0});
}
