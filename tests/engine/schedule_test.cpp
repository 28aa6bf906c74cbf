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

TEST_CASE("exponential falls after every epoch", "[schedule]") {
  const Schedule schedule{ScheduleKind::exponential, {}, 0.5, 0.0, 10.0};
  CHECK(schedule.factor(99, 100) == 1.0);
  CHECK(near(schedule.factor(100, 100), 0.5));
  CHECK(near(schedule.factor(399, 100), 0.125));
}

TEST_CASE("one cycle and its triangle are PyTorch's OneCycleLR", "[schedule]") {
  // torch.optim.lr_scheduler.OneCycleLR(max_lr=1, total_steps=40), anneal_strategy "cos" and "linear".
  const int steps[] = {0, 3, 11, 12, 25, 38, 39};
  const double cosine[] = {0.04,     0.2056668477062631,    1.0,  0.9968561175222016,
                           0.500002, 0.0031478824777984847, 4e-06};
  const double linear[] = {0.04,     0.30181818181818176, 1.0,  0.9642858571428572,
                           0.500002, 0.03571814285714281, 4e-06};
  const Schedule one_cycle{ScheduleKind::one_cycle, {}, 0.1, 2.0, 4.0};  // its warm-up has no effect
  const Schedule triangular{ScheduleKind::triangular, {}, 0.1, 0.0, 4.0};
  for (std::size_t i = 0; i < std::size(steps); ++i) {
    CHECK(near(one_cycle.factor(steps[i], 10), cosine[i]));
    CHECK(near(triangular.factor(steps[i], 10), linear[i]));
  }
  CHECK(near(one_cycle.factor(50, 10), 4e-6));  // epochs beyond the end
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
