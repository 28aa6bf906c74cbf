// Steps queued operation by operation, in planned memory, and captured and launched as a whole: the same
// bits.

#include <array>

#include "engine/functional.h"
#include "tests/models/small_training.h"

using namespace zeroth;

namespace {

constexpr int kSteps = 11;  // over the ends of epochs, which have 4 steps

struct Problem {
  const char* model;
  OptimizerKind optimizer;
  DType working;
  bool averages = false;
  double mixup = 0.0;
};

/// How one training runs: mode, and whether weight gradients run beside the rest.
struct Way {
  StepMode mode;
  bool forks;
};

TrainerConfig config_of(const Problem& problem, StepMode mode) {
  TrainerConfig config = small_config();
  config.batch_size = 8;
  config.optimizer.kind = problem.optimizer;
  config.schedule = {ScheduleKind::cosine, {}, 0.1, 0.5, 3.0};  // another rate in every step
  config.step_mode = mode;
  config.mixup = problem.mixup;
  config.label_smoothing = problem.mixup > 0.0 ? 0.1 : 0.0;
  if (problem.averages) {
    config.ema_decay = 0.9;
    config.lookahead = {3, 0.5, 2.0};
  }
  if (problem.working == DType::f16) {  // a loss scale that overflows, falls and grows again
    config.optimizer.guard.loss_scale = 0x1p22;
    config.optimizer.guard.params.dynamic = true;
    config.optimizer.guard.params.growth_interval = 2;
  }
  return config;
}

struct ModeTraining : SmallTraining {
  ModeTraining(const Problem& problem, Way way, DeviceKind device)
      : SmallTraining(config_of(problem, way.mode), 32, problem.working, device, problem.model) {
    context.set_forks(way.forks);
  }

  /// What lies between two steps in a real run: the losses are read, the network is evaluated on larger
  /// batches, for which scratch memory may grow, and memory comes and goes.
  double interrupt(int step) {
    if (step == 4 || step == 8) return evaluate();
    if (step == 3) {
      const std::array<std::size_t, 2> bytes{context.scratch(1).bytes, 100000};
      const void* before = context.scratch(bytes[0]).data;
      context.scratch(bytes[0] + bytes[1]);
      if (trainer.step_mode() == StepMode::captured) {
        // The graph's scratch memory is not handed out to anybody.
        std::vector<Tensor> taken;
        for (int i = 0; i < 3; ++i) {
          taken.push_back(Tensor::zeros(context, {static_cast<std::int64_t>(bytes[0])}, DType::u8));
          CHECK(TensorView(taken.back()).data != before);
        }
      }
    }
    return 0.0;
  }
  double evaluate() { return trainer.evaluate(random_pictures(context, 40, 8)).metrics.loss; }

  /// Losses and evaluations on the way, and every tensor at the end.
  std::pair<std::vector<double>, SmallTraining::Values> run(int from = 0, int to = kSteps) {
    std::vector<double> losses;
    for (int step = from; step < to; ++step) {
      losses.push_back(interrupt(step));
      trainer.step();
      if (step % 3 == 1) losses.push_back(trainer.take_metrics().loss);
    }
    losses.push_back(trainer.take_metrics().loss);
    return {losses, values()};
  }
};

constexpr Problem kProblems[] = {{"rezero-resnet8", OptimizerKind::sgd, DType::f32},
                                 {"resnet8", OptimizerKind::adamw, DType::f32},
                                 {"resnet8", OptimizerKind::sgd, DType::bf16},
                                 {"rezero-resnet8", OptimizerKind::adamw, DType::f16},
                                 {"resnet8", OptimizerKind::muon, DType::f32, true},
                                 {"rezero-resnet8", OptimizerKind::muon, DType::f16, true},
                                 {"resnet8", OptimizerKind::sgd, DType::f32, false, 0.4},
                                 {"rezero-resnet8", OptimizerKind::adamw, DType::bf16, false, 1.0}};

}  // namespace

TEST_CASE("steps in planned memory give the bits of eager ones", "[training][modes]") {
  for (const Problem& problem : kProblems) {
    if (problem.working != DType::f32) continue;
    INFO(problem.model);
    ModeTraining eager(problem, {StepMode::eager, false}, DeviceKind::cpu),
        planned(problem, {StepMode::planned, false}, DeviceKind::cpu);
    CHECK(eager.run() == planned.run());
    CHECK(eager.trainer.step_mode() == StepMode::eager);
    CHECK(eager.context.allocator().plan() == nullptr);
    CHECK(planned.trainer.step_mode() == StepMode::planned);
    CHECK(planned.trainer.step_notice() == "");
    const Arena& plan = *planned.context.allocator().plan();
    CHECK(plan.kept() == 0);
    CHECK(plan.bytes() >= plan.peak_bytes());
    CHECK(plan.bytes() <= plan.peak_bytes() + plan.peak_bytes() / 8);
  }
}

namespace {

void check_ways(const Problem& problem) {
  INFO(problem.model << ", " << name_of(problem.working));
  const auto expected = ModeTraining(problem, {StepMode::eager, false}, DeviceKind::simt).run();
  for (const Way way : {Way{StepMode::captured, true}, Way{StepMode::captured, false},
                        Way{StepMode::planned, true}, Way{StepMode::eager, true}}) {
    if (way.mode != StepMode::captured && problem.working != DType::f32) continue;  // less to wait for
    INFO(name_of(way.mode) << (way.forks ? ", forked" : ""));
    ModeTraining training(problem, way, DeviceKind::simt);
    CHECK((training.run() == expected));
    CHECK(training.trainer.step_mode() == way.mode);
    CHECK(training.trainer.step_notice() == "");
  }
}

}  // namespace

TEST_CASE("captured steps give the bits of eager ones, weight gradients beside or not", "[training][modes]") {
  check_ways(kProblems[0]);
}
TEST_CASE("captured steps give the bits of eager ones with AdamW", "[training][modes][long]") {
  check_ways(kProblems[1]);
}
TEST_CASE("captured steps give the bits of eager ones in bf16", "[training][modes][long]") {
  check_ways(kProblems[2]);
}
TEST_CASE("captured steps give the bits of eager ones in f16", "[training][modes][long]") {
  check_ways(kProblems[3]);
}

TEST_CASE("a captured training that is resumed computes the same bits", "[training][modes]") {
  const Problem problem = kProblems[1];
  ModeTraining whole(problem, {StepMode::eager, false}, DeviceKind::simt);
  ModeTraining start(problem, {StepMode::captured, true}, DeviceKind::simt),
      rest(problem, {StepMode::captured, true}, DeviceKind::simt);
  const auto expected = whole.run().second;
  start.run(0, 6);
  rest.run(0, 5);  // its graph stays: where a training stands is in device memory
  CHECK(rest.trainer.step_mode() == StepMode::captured);
  rest.continue_from(start, 6);
  CHECK((rest.run(6).second == expected));
}

TEST_CASE("what cannot be captured is planned, and said", "[training][modes]") {
  const Problem problem = kProblems[0];
  const auto expected = ModeTraining(problem, {StepMode::eager, false}, DeviceKind::cpu).run();
  ModeTraining on_cpu(problem, {StepMode::captured, false}, DeviceKind::cpu);
  CHECK((on_cpu.run() == expected));
  CHECK(on_cpu.trainer.step_mode() == StepMode::planned);
  CHECK(on_cpu.trainer.step_notice() ==
        "steps are planned, not captured: the CPU's work is done when it is queued, and cannot be captured");

  ModeTraining waiting(problem, {StepMode::captured, true}, DeviceKind::simt);
  waiting.context.set_sync_launches(true);
  waiting.run(0, 4);
  CHECK(waiting.trainer.step_mode() == StepMode::planned);
  CHECK(waiting.trainer.step_notice() ==
        "steps are planned, not captured: --sync-launches waits after every kernel");

  ModeTraining eager(problem, {StepMode::eager, false}, DeviceKind::simt),
      host_row(problem, {StepMode::captured, true}, DeviceKind::simt);
  for (ModeTraining* training : {&eager, &host_row})
    training->context.choose_implementation("linear=reference");
  CHECK((eager.run(0, 5) == host_row.run(0, 5)));
  CHECK(host_row.trainer.step_mode() == StepMode::planned);
  CHECK(host_row.trainer.step_notice() ==
        "steps are planned, not captured: linear: the row 'reference' computes on the host and cannot be "
        "captured");
}

TEST_CASE("a setting that changes is obeyed by the next step", "[training][modes]") {
  const Problem problem = kProblems[0];
  const auto run = [&](Way way) {
    ModeTraining training(problem, way, DeviceKind::simt);
    SmallTraining::Values values = training.run(0, 5).second;
    training.context.choose_implementation("conv2d=reference");
    training.run(5, 7);
    CHECK(training.trainer.step_mode() != StepMode::captured);  // warms up again
    training.context.choose_implementation("conv2d=native");
    values = training.run(7).second;
    CHECK(training.trainer.step_mode() == way.mode);
    return values;
  };
  CHECK((run({StepMode::captured, true}) == run({StepMode::eager, false})));
}

namespace {

/// A small network that makes a tensor more in the forward passes from `first` to `last`, and may keep the
/// newest.
class Wandering : public Network {
 public:
  Wandering(Context& context, int first, int last, bool keeps)
      : context_(context),
        first_(first),
        last_(last),
        keeps_(keeps),
        filter_(
            store_.add("filter", {8, 3, 3, 3}, ParameterGroup::weight, Initialisation::kaiming_normal(27))),
        weight_(store_.add("weight", {10, 8}, ParameterGroup::weight, Initialisation::uniform(0.3))),
        bias_(store_.add("bias", {10}, ParameterGroup::bias, Initialisation::constant(0.0))) {
    store_.materialise(context, 5);
  }
  Variable forward(Tape& tape, const Variable& x) override {
    ++passes_;
    const Tensor more =
        passes_ >= first_ && passes_ <= last_ ? Tensor::zeros(context_, {1234}, DType::f32) : Tensor();
    if (keeps_) kept_ = more;
    const Variable y = relu(tape, conv2d(tape, x, tape.parameter(filter_), 1, 1));
    return linear(tape, global_avg_pool(tape, y), tape.parameter(weight_), tape.parameter(bias_));
  }

 private:
  Context& context_;
  int first_, last_;
  bool keeps_;
  Parameter &filter_, &weight_, &bias_;
  int passes_ = 0;
  Tensor kept_;
};

struct WanderingTraining {
  Context context;
  Wandering network;
  Trainer trainer;

  WanderingTraining(DeviceKind device, StepMode mode, int first, int last, bool keeps = false)
      : context({device, 0}),
        network(context, first, last, keeps),
        trainer(context, network, random_pictures(context, 32, 8), config_of(kProblems[0], mode),
                [](std::uint32_t) {
                  std::vector<std::int32_t> order(32);
                  std::iota(order.begin(), order.end(), 0);
                  return order;
                }) {}

  std::vector<float> run() {
    for (int step = 0; step < 6; ++step) trainer.step();
    return network.store().flat_values().to_host<float>(context);
  }
};

}  // namespace

TEST_CASE("a step that departs from its plan is taken all the same, and said", "[training][modes]") {
  const std::vector<float> on_cpu = WanderingTraining(DeviceKind::cpu, StepMode::eager, 1, 0).run(),
                           on_simt = WanderingTraining(DeviceKind::simt, StepMode::eager, 1, 0).run();
  WanderingTraining planned(DeviceKind::cpu, StepMode::planned, 4, 4);
  CHECK((planned.run() == on_cpu));
  CHECK(planned.trainer.step_mode() == StepMode::eager);
  CHECK_THAT(
      planned.trainer.step_notice(),
      ContainsSubstring("steps are eager, not planned: the step departs from its memory plan at allocation"));
  CHECK(planned.context.allocator().plan() == nullptr);

  WanderingTraining captured(DeviceKind::simt, StepMode::captured, 3,
                             4);  // while it is captured, and when that failed
  CHECK((captured.run() == on_simt));
  CHECK(captured.trainer.step_mode() == StepMode::eager);
  CHECK_THAT(captured.trainer.step_notice(),
             ContainsSubstring(
                 "steps are eager, not captured: the step departs from its memory plan at allocation"));

  WanderingTraining keeping(DeviceKind::simt, StepMode::captured, 1, 100, true);
  CHECK((keeping.run() == on_simt));
  CHECK(keeping.trainer.step_mode() == StepMode::planned);
  CHECK_THAT(keeping.trainer.step_notice(),
             ContainsSubstring("steps are planned, not captured: 1 of the step's tensors outlive"));
}

TEST_CASE("two trainings in one context do not take each other's planned memory", "[training][modes]") {
  const auto order = [](std::uint32_t) {
    std::vector<std::int32_t> all(32);
    std::iota(all.begin(), all.end(), 0);
    return all;
  };
  const auto alone = ModeTraining(kProblems[0], {StepMode::eager, false}, DeviceKind::simt).run(0, 5);
  ModeTraining first(kProblems[0], {StepMode::captured, true}, DeviceKind::simt);
  ResNet network(SmallTraining::small_network());
  network.store().materialise(first.context, 6);
  Trainer second(first.context, network, random_pictures(first.context, 32, 8),
                 config_of(kProblems[0], StepMode::captured), order);
  for (int step = 0; step < 3; ++step) first.trainer.step();
  for (int step = 0; step < 4; ++step) second.step();
  CHECK(second.step_mode() == StepMode::eager);
  CHECK(second.step_notice() ==
        "steps are eager, not captured: this context's memory is planned for another step");
  for (int step = 3; step < 5; ++step) first.trainer.step();
  CHECK(first.trainer.step_mode() == StepMode::captured);
  static_cast<void>(first.trainer.take_metrics());  // as run() does
  CHECK((first.values() == alone.second));
}
