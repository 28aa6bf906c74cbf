// ddp, zero1, zero2 and gemini: several ranks against one with a batch as large as all of theirs, and against
// each other.

#include <cmath>
#include <map>

#include "tests/parallel/replica_training.h"

using namespace zeroth;

namespace {

constexpr Sharing kSharings[] = {Sharing::nothing, Sharing::optimizer_state, Sharing::gradients,
                                 Sharing::values};
const char* name_of_strategy(Sharing sharing) {
  constexpr const char* kNames[] = {"ddp", "zero1", "zero2", "gemini"};
  return kNames[static_cast<int>(sharing)];
}

/// Losses every few steps, and the state at the end.
struct Result {
  std::vector<double> losses;
  std::vector<State> states;  // of each rank
  std::vector<StepReport> reports;
  std::vector<Traffic> traffic;  // of the last step
};

/// With 0 ranks: one, without a communicator.
Result train(int ranks, const ReplicaSetup& setup, int steps, const State* from = nullptr, int done = 0) {
  Result result;
  const auto count = static_cast<std::size_t>(std::max(ranks, 1));
  result.states.resize(count);
  result.reports.resize(count);
  result.traffic.resize(count);
  const auto run = [&](Communicator* communicator) {
    ReplicaTraining training(setup, communicator);
    const auto rank = static_cast<std::size_t>(communicator == nullptr ? 0 : communicator->rank());
    if (from != nullptr) put_state(*training.trainer, *from, done);
    for (int step = 0; step < steps; ++step) {
      const Traffic before = communicator == nullptr ? Traffic{} : communicator->traffic();
      training.trainer->step();
      if (communicator != nullptr)
        result.traffic[rank] = {communicator->traffic().collectives - before.collectives,
                                communicator->traffic().bytes - before.bytes};
      if (step % 4 == 3 || step + 1 == steps) {
        const Metrics metrics = training.trainer->take_metrics();
        if (rank == 0) result.losses.push_back(metrics.loss);
      }
    }
    result.states[rank] = training.trainer->gather_state();
    result.reports[rank] = training.trainer->take_report();
  };
  if (ranks == 0)
    run(nullptr);
  else
    run_replicas(ranks, [&](Communicator& communicator) { run(&communicator); });
  return result;
}

Result train_alone(const ReplicaSetup& setup, int steps, const State* from = nullptr, int done = 0) {
  return train(0, setup, steps, from, done);
}

/// The largest difference of a tensor's elements, over the largest element.
double difference(const State& a, const State& b) {
  double worst = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].dtype == DType::i32) continue;
    REQUIRE(a[i].name == b[i].name);
    const auto x = numbers<double>(a[i]), y = numbers<double>(b[i]);
    double most = 0.0, apart = 0.0;
    for (std::size_t e = 0; e < x.size(); ++e) {
      most = std::max(most, std::abs(x[e]));
      apart = std::max(apart, std::abs(x[e] - y[e]));
    }
    if (most > 0.0) worst = std::max(worst, apart / most);
  }
  return worst;
}

}  // namespace

TEST_CASE("k ranks take the step of one rank with k times the batch", "[parallel][strategies]") {
  // In double precision, so that what is left is the rounding of other orders of summation. A gradient is a
  // sum over 16 pictures of 64 pixels, through four layers of up to 288 products: n terms. A sum's error is
  // up to n units of roundoff of the sum of magnitudes, which exceeds the largest element by the cancellation
  // in it, of which 16 is allowed.
  constexpr double kTerms = 16 * 64 + 4 * 288, kCancellation = 16;
  constexpr double kBound = kTerms * kCancellation * 0x1p-53;
  ReplicaSetup one;
  one.working = DType::f64;
  one.config.optimizer.momentum = 0.9;  // after one step the momentum is the gradient and the decay
  State at;
  int done = 0;
  for (const int steps : {0, 100}) {
    if (steps > done) at = train_alone(one, steps - done, done > 0 ? &at : nullptr, done).states[0];
    done = steps;
    const State* from = steps > 0 ? &at : nullptr;
    const Result expected = train_alone(one, 1, from, done);
    for (const int ranks : {1, 2, 4})
      for (const Sharing sharing : kSharings) {
        INFO(ranks << " ranks, " << name_of_strategy(sharing) << ", after step " << steps);
        ReplicaSetup many = one;
        many.sharing = sharing;
        many.config.batch_size = one.config.batch_size / ranks;
        const Result result = train(ranks, many, 1, from, done);
        for (const State& state : result.states) CHECK(difference(expected.states[0], state) < kBound);
        CHECK(std::abs(result.losses[0] - expected.losses[0]) < kBound * expected.losses[0]);
        CHECK(std::abs(result.reports[0].gradient_norm - expected.reports[0].gradient_norm) <
              kBound * expected.reports[0].gradient_norm);
      }
  }
}

TEST_CASE("all strategies compute the same bits", "[parallel][strategies]") {
  struct Case {
    const char* model;
    OptimizerKind optimizer;
    DType working;
    DeviceKind device;
    int ranks, steps;
  };
  const Case cases[] = {{"rezero-resnet8", OptimizerKind::sgd, DType::f32, DeviceKind::cpu, 2, 9},
                        {"resnet8", OptimizerKind::adamw, DType::f32, DeviceKind::cpu, 4, 9},
                        {"plain", OptimizerKind::sgd, DType::bf16, DeviceKind::cpu, 3, 9},
                        {"rezero-resnet8", OptimizerKind::adamw, DType::f16, DeviceKind::cpu, 2, 9},
                        {"plain", OptimizerKind::adamw, DType::f32, DeviceKind::simt, 2, 4}};
  for (const Case& problem : cases) {
    ReplicaSetup setup;
    setup.model = problem.model;
    setup.working = problem.working;
    setup.device = problem.device;
    setup.config.batch_size = 4;
    setup.config.optimizer.kind = problem.optimizer;
    if (problem.working == DType::f16) {
      setup.config.optimizer.guard.loss_scale = 0x1p24;  // overflows, falls and grows again
      setup.config.optimizer.guard.params.dynamic = true;
      setup.config.optimizer.guard.params.growth_interval = 2;
    }
    const Result expected = train(problem.ranks, setup, problem.steps);
    if (problem.working == DType::f16) CHECK(expected.reports[0].skipped > 0);
    for (const Sharing sharing : kSharings) {
      INFO(problem.model << ", " << name_of(problem.working) << ", " << problem.ranks << " ranks, "
                         << name_of_strategy(sharing));
      setup.sharing = sharing;
      setup.forks = problem.device == DeviceKind::simt;
      const Result result = train(problem.ranks, setup, problem.steps);
      CHECK(result.losses == expected.losses);
      for (std::size_t rank = 0; rank < result.states.size(); ++rank) {
        CHECK(same_bits(result.states[rank], expected.states[rank]));
        CHECK(same_bits(result.states[rank], expected.states[0], false));
        CHECK(result.reports[rank].skipped == expected.reports[0].skipped);
        CHECK(result.reports[rank].loss_scale == expected.reports[0].loss_scale);
      }
    }
  }
}
