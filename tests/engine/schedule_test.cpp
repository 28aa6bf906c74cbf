#include "engine/schedule.h"

#include <cmath>

#include "tests/catch.h"

using namespace zeroth;

namespace {
bool near(double a, double b) {
  return std::abs(a - b) < 1e-12;
}
}  // namespace

TEST_CASE("step schedule cuts at the first step after a milestone", "[schedule]") {
  const Schedule schedule{ScheduleKind::step, {7, 9}, 0.1, 0.0, 10.0};
  CHECK(schedule.factor(0, 390) == 1.0);
  CHECK(schedule.factor(7 * 390 - 1, 390) == 1.0);
  CHECK(near(schedule.factor(7 * 390, 390), 0.1));
  CHECK(near(schedule.factor(9 * 390, 390), 0.01));
}

TEST_CASE("warm-up rises to 1 and then leaves the schedule alone", "[schedule]") {
  const Schedule schedule{ScheduleKind::constant, {}, 0.1, 2.0, 10.0};
  double previous = 0.0;
  for (int step = 0; step < 20; ++step) {
    const double factor = schedule.factor(step, 10);
    CHECK(factor > previous);
    CHECK(factor < 1.0);
    previous = factor;
  }
  CHECK(schedule.factor(20, 10) == 1.0);
}

TEST_CASE("cosine falls from 1 to 0 between warm-up and the last epoch", "[schedule]") {
  const Schedule schedule{ScheduleKind::cosine, {}, 0.1, 1.0, 5.0};
  CHECK(near(schedule.factor(100, 100), 1.0));
  CHECK(near(schedule.factor(300, 100), 0.5));
  CHECK(near(schedule.factor(500, 100), 0.0));
  CHECK(near(schedule.factor(900, 100), 0.0));
  const Schedule plain{ScheduleKind::cosine, {}, 0.1, 0.0, 4.0};
  CHECK(near(plain.factor(100, 100), 0.5 * (1 + std::cos(std::acos(-1.0) / 4))));
}
