#include "engine/mixup_share.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "tests/catch.h"

using namespace zeroth;

TEST_CASE("mixup's shares are those of the Beta distribution", "[mixup]") {
  constexpr int kSteps = 40'000;
  for (const double alpha : {0.1, 0.4, 1.0, 3.0}) {
    double sum = 0.0, squares = 0.0, least = 1.0;
    for (int step = 0; step < kSteps; ++step) {
      const double share = mixup_share(alpha, 7, step), deviation = (share - 0.5) * (share - 0.5);
      sum += deviation;
      squares += deviation * deviation;
      least = std::min(least, share);
      CHECK_FALSE(share > 1.0);
    }
    CHECK(least >= 0.5);
    CHECK(least < 0.51);
    // The variance of Beta(a, a), which does not care on which side of 1/2 a share lies; within five
    // deviations of a mean of so many.
    const double mean = sum / kSteps, spread = std::sqrt(squares / kSteps - mean * mean);
    CHECK(std::fabs(mean - 1.0 / (4.0 * (2.0 * alpha + 1.0))) < 5.0 * spread / std::sqrt(1.0 * kSteps));
  }
  // Uniform for alpha 1: a quarter of the shares in each quarter of [0.5, 1].
  int lowest = 0;
  for (int step = 0; step < kSteps; ++step) lowest += mixup_share(1.0, 8, step) < 0.625;
  CHECK(std::abs(lowest - kSteps / 4) < 5 * std::sqrt(kSteps * 3.0 / 16.0));
}

TEST_CASE("mixup's shares follow from seed and step", "[mixup]") {
  CHECK(mixup_share(0.4, 1, 5) == mixup_share(0.4, 1, 5));
  CHECK(mixup_share(0.4, 1, 5) != mixup_share(0.4, 1, 6));
  CHECK(mixup_share(0.4, 1, 5) != mixup_share(0.4, 2, 5));
  for (int step = 0; step < 1000; ++step) CHECK(mixup_share(1e-6, 1, step) == 1.0);  // and no NaN
}
