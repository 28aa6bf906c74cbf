// Training on one device against training on another. Training is chaotic: a difference of one unit in the
// last place grows a thousandfold within ten steps at a rate of 0.1. So single steps are compared, each from
// the same state, and only the first few losses of a run.

#include <cmath>
#include <cstring>
#include <numeric>
#include <optional>

#include "data/generated.h"
#include "engine/trainer.h"
#include "models/resnet.h"
#include "tests/gpu/skip.h"

using namespace zeroth;
using namespace zeroth::testing;

namespace {

struct Setting {
  const char* model;
  std::int64_t side, batch, pictures;
  OptimizerKind optimizer = OptimizerKind::sgd;  // muon: with both averages
};

constexpr Setting kSmall{"rezero-resnet8", 8, 8, 40};
constexpr Setting kReal{"rezero-resnet20", 32, 32, 640};
constexpr Setting kSmallMuon{"rezero-resnet8", 8, 8, 40, OptimizerKind::muon};
constexpr Setting kRealMuon{"rezero-resnet20", 32, 32, 640, OptimizerKind::muon};

/// The generated pictures, of which a smaller network sees a corner.
PictureSet pictures_on(Context& context, const Setting& setting) {
  const Dataset set = generate_dataset(kGeneratedSeed, setting.pictures, 0);
  const auto side = static_cast<std::size_t>(setting.side);
  std::vector<std::uint8_t> pixels;
  for (std::size_t picture = 0; picture < static_cast<std::size_t>(setting.pictures); ++picture)
    for (std::size_t y = 0; y < side; ++y) {
      const auto row = set.train.pixels.begin() + static_cast<std::ptrdiff_t>((picture * 32 + y) * 32 * 3);
      pixels.insert(pixels.end(), row, row + static_cast<std::ptrdiff_t>(side * 3));
    }
  return {Tensor::from_host<std::uint8_t>(context, {setting.pictures, setting.side, setting.side, 3}, pixels),
          Tensor::from_host<std::int32_t>(context, {setting.pictures}, set.train.labels), 10};
}

/// A network in training on a device.
struct Training {
  Context context;
  ResNet network;
  Trainer trainer;

  Training(DeviceKind device, const Setting& setting, DType working, std::optional<StepMode> mode = {})
      : context({device, 0}),
        network(config_of(setting)),
        trainer(context, prepared(network, context, working), pictures_on(context, setting),
                rates(setting, working, mode), [setting](std::uint32_t epoch) {
                  std::vector<std::int32_t> order(static_cast<std::size_t>(setting.pictures));
                  std::iota(order.begin(), order.end(), 0);
                  std::rotate(order.begin(), order.begin() + epoch % 7, order.end());
                  return order;
                }) {}

  static ResNetConfig config_of(const Setting& setting) {
    ResNetConfig config = resnet_config(setting.model);
    config.height = config.width = setting.side;
    config.alpha_init = 0.25;  // so that every gradient matters from the first step on
    return config;
  }
  static ResNet& prepared(ResNet& network, Context& context, DType working) {
    if (working == DType::f64)
      for (const char* operation : {"conv2d", "batch_norm", "relu", "residual", "shortcut_a", "linear",
                                    "avg_pool", "max_pool", "softmax_cross_entropy", "augment", "sgd"})
        context.choose_implementation(std::string(operation) + "=reference");
    network.store().materialise(context, 5, working);
    return network;
  }
  static TrainerConfig rates(const Setting& setting, DType working, std::optional<StepMode> mode) {
    TrainerConfig config;
    config.step_mode = mode;
    if (mode) config.schedule = {ScheduleKind::cosine, {}, 0.1, 0.0, 8.0};  // another rate in every step
    if (working == DType::f16) {
      config.optimizer.guard.loss_scale = 4096.0;
      config.optimizer.guard.params.dynamic = true;
    }
    config.batch_size = setting.batch;
    config.rates.fill({0.1, 5e-4});
    if (setting.optimizer == OptimizerKind::muon) {
      config.optimizer.kind = OptimizerKind::muon;
      config.rates[static_cast<std::size_t>(ParameterGroup::hidden)] = {0.02, 0.01};
      config.ema_decay = 0.9;
      config.lookahead = {5, 0.5, 0.0};
    }
    config.mean = {0.5, 0.5, 0.5, 0.0};
    config.std = {0.25, 0.25, 0.25, 1.0};
    config.seed = 3;
    return config;
  }

  /// Every tensor of the training by name, as f64.
  std::vector<std::pair<std::string, std::vector<double>>> state() {
    std::vector<std::pair<std::string, std::vector<double>>> result;
    for (const NamedTensor& tensor : trainer.tensors())
      with_type(tensor.value.dtype(), [&]<class T>(TypeTag<T>) {
        const std::vector<T> values = tensor.value.to_host<T>(context);
        result.emplace_back(tensor.name, std::vector<double>(values.begin(), values.end()));
      });
    return result;
  }
  /// Counters are i32; all else is f32 or f64.
  template <class Fn>
  static void with_type(DType dtype, Fn&& fn) {
    if (dtype == DType::i32) return fn(TypeTag<std::int32_t>{});
    dispatch_reference(dtype, fn);
  }
  /// Continues after `steps` steps from another training's state.
  void continue_from(Training& other, std::int64_t steps) {
    const auto from = other.state();
    const std::vector<NamedTensor> to = trainer.tensors();
    REQUIRE(from.size() == to.size());
    for (std::size_t i = 0; i < to.size(); ++i) {
      REQUIRE(from[i].first == to[i].name);
      with_type(to[i].value.dtype(), [&]<class T>(TypeTag<T>) {
        const std::vector<T> values(from[i].second.begin(), from[i].second.end());
        to[i].value.copy_from(context, std::as_bytes(std::span(values)));
      });
    }
    trainer.resume_at(steps);
    trainer.take_metrics();
  }
};

enum class Group { parameters, statistics, momentum, counters };

Group group_of(const std::string& name) {
  if (name.starts_with("guard.")) return Group::counters;
  if (name.starts_with("optimizer.")) return Group::momentum;
  return name.find("running_") == std::string::npos ? Group::parameters : Group::statistics;
}

/// Relative L2 distance of one group of tensors.
double distance(Training& a, Training& b, Group group) {
  const auto left = a.state(), right = b.state();
  REQUIRE(left.size() == right.size());
  double difference = 0.0, size = 0.0;
  for (std::size_t i = 0; i < left.size(); ++i) {
    if (group_of(left[i].first) != group) continue;
    for (std::size_t j = 0; j < left[i].second.size(); ++j) {
      difference += std::pow(left[i].second[j] - right[i].second[j], 2);
      size += std::pow(right[i].second[j], 2);
    }
  }
  REQUIRE(size > 0.0);
  return std::sqrt(difference / size);
}

/// After each number of steps, one step from the same state on the device, on the CPU's fast rows and in f64.
/// The device's error against f64 is at most 4 times the CPU's, plus some roundings, in each group of
/// tensors. (Gradients are compared in the momentum that they enter.) Both errors pool a few ReLUs whose
/// input is so close to zero that rounding decides their side. In mixed precision the CPU rounds where the
/// device does.
void check_single_steps(DeviceKind device, const Setting& setting, const std::vector<std::int64_t>& after,
                        DType working = DType::f32) {
  const double slack = working == DType::bf16 ? 0x1p-8 : working == DType::f16 ? 0x1p-11 : 1e-6;
  Training run(device, setting, working), one(device, setting, working),
      fast(DeviceKind::cpu, setting, working), exact(DeviceKind::cpu, setting, DType::f64);
  std::int64_t steps = 0;
  for (const std::int64_t target : after) {
    for (; steps < target; ++steps) run.trainer.step();
    for (Training* training : {&one, &fast, &exact}) {
      training->continue_from(run, steps);
      training->trainer.step();
    }
    const double truth = exact.trainer.take_metrics().loss;
    const double loss_error = std::fabs(one.trainer.take_metrics().loss - truth),
                 fast_loss_error = std::fabs(fast.trainer.take_metrics().loss - truth);
    INFO("after " << steps << " steps: loss " << truth << " +- " << loss_error << ", CPU "
                  << fast_loss_error);
    CHECK(loss_error <= 4.0 * fast_loss_error + slack * std::fabs(truth));
    for (const Group group : {Group::parameters, Group::statistics, Group::momentum}) {
      const double error = distance(one, exact, group), fast_error = distance(fast, exact, group);
      INFO("group " << static_cast<int>(group) << ": error " << error << ", of the CPU " << fast_error);
      CHECK(error <= 4.0 * fast_error + slack);
    }
  }
}

void check_first_losses(DeviceKind device, const Setting& setting) {
  Training a(device, setting, DType::f32), b(DeviceKind::cpu, setting, DType::f32);
  for (int step = 0; step < 5; ++step) {
    a.trainer.step();
    b.trainer.step();
    const double left = a.trainer.take_metrics().loss, right = b.trainer.take_metrics().loss;
    INFO("step " << step << ": " << left << " and " << right);
    CHECK(std::fabs(left - right) <= 1e-4 * std::fabs(right));
  }
}

void check_same_bits(DeviceKind device, const Setting& setting, DType working, int steps) {
  Training first(device, setting, working), second(device, setting, working);
  for (int step = 0; step < steps; ++step) {
    first.trainer.step();
    second.trainer.step();
  }
  CHECK(first.state() == second.state());
  CHECK(first.trainer.take_metrics().loss == second.trainer.take_metrics().loss);
}

/// Steps queued one operation after another, against steps in planned memory and captured ones, with weight
/// gradients beside the rest: the same bits, although the network is evaluated in between and the rate
/// changes.
void check_step_modes(DeviceKind device, const Setting& setting, DType working, int steps) {
  const auto run = [&](StepMode mode, bool forks) {
    Training training(device, setting, working, mode);
    training.context.set_forks(forks);
    const PictureSet others = pictures_on(training.context, setting);
    std::vector<double> losses;
    for (int step = 0; step < steps; ++step) {
      if (step == steps / 2) losses.push_back(training.trainer.evaluate(others).metrics.loss);
      training.trainer.step();
      if (step % 3 == 0) losses.push_back(training.trainer.take_metrics().loss);
    }
    INFO(training.trainer.step_notice());
    CHECK(training.trainer.step_mode() == mode);
    return std::pair(losses, training.state());
  };
  const auto eager = run(StepMode::eager, false);
  for (const bool forks : {false, true})
    for (const StepMode mode : {StepMode::eager, StepMode::planned, StepMode::captured}) {
      INFO(name_of(mode) << (forks ? ", forked" : "") << ", " << name_of(working));
      CHECK((run(mode, forks) == eager));
    }
}

}  // namespace

TEST_CASE("single steps under simt agree with f64 as well as the CPU's", "[gpu]") {
  check_single_steps(DeviceKind::simt, kSmall, {0, 5});
}
TEST_CASE("single steps in mixed precision under simt are as exact as the CPU's", "[gpu]") {
  for (const DType working : {DType::bf16, DType::f16})
    check_single_steps(DeviceKind::simt, kSmall, {0, 5}, working);
}
TEST_CASE("the first losses under simt are those of the CPU", "[gpu]") {
  check_first_losses(DeviceKind::simt, kSmall);
}
TEST_CASE("single steps on a GPU agree with f64 as well as the CPU's", "[gpu]") {
  require_cuda();
  check_single_steps(DeviceKind::cuda, kReal, {0, 100, 500});
}
TEST_CASE("single steps of Muon under simt agree with f64 as well as the CPU's", "[gpu]") {
  check_single_steps(DeviceKind::simt, kSmallMuon, {0, 5});
}
TEST_CASE("single steps of Muon on a GPU agree with f64 as well as the CPU's", "[gpu]") {
  require_cuda();
  check_single_steps(DeviceKind::cuda, kRealMuon, {0, 100});
}
TEST_CASE("single steps in mixed precision on a GPU are as exact as the CPU's", "[gpu]") {
  require_cuda();
  for (const DType working : {DType::bf16, DType::f16})
    check_single_steps(DeviceKind::cuda, kReal, {0, 100}, working);
}
TEST_CASE("the first losses on a GPU are those of the CPU", "[gpu]") {
  require_cuda();
  check_first_losses(DeviceKind::cuda, kReal);
}
TEST_CASE("two runs on a GPU give the same bits", "[gpu]") {
  require_cuda();
  for (const DType working : {DType::f32, DType::bf16, DType::f16})
    check_same_bits(DeviceKind::cuda, kReal, working, 30);
}
TEST_CASE("steps under simt have the same bits however they are queued", "[gpu]") {
  check_step_modes(DeviceKind::simt, kSmall, DType::bf16, 6);
}
TEST_CASE("steps on a GPU have the same bits however they are queued", "[gpu]") {
  require_cuda();
  for (const DType working : {DType::f32, DType::bf16, DType::f16})
    check_step_modes(DeviceKind::cuda, kReal, working, 25);
}
TEST_CASE("steps of Muon with averages on a GPU have the same bits however they are queued", "[gpu]") {
  require_cuda();
  for (const DType working : {DType::f32, DType::f16})
    check_step_modes(DeviceKind::cuda, kRealMuon, working, 25);
}
TEST_CASE("mixed precision on a GPU follows f32", "[gpu]") {
  require_cuda();
  Training wide(DeviceKind::cuda, kReal, DType::f32);
  for (int step = 0; step < 200; ++step) wide.trainer.step();
  wide.trainer.take_metrics();
  for (int step = 0; step < 20; ++step) wide.trainer.step();
  const double loss = wide.trainer.take_metrics().loss;
  CHECK(loss < 2.0);  // ten classes: 2.3 says nothing was learned
  for (const DType working : {DType::bf16, DType::f16}) {
    Training narrow(DeviceKind::cuda, kReal, working);
    for (int step = 0; step < 200; ++step) narrow.trainer.step();
    narrow.trainer.take_metrics();
    for (int step = 0; step < 20; ++step) narrow.trainer.step();
    INFO(name_of(working));
    CHECK(narrow.trainer.take_metrics().loss < loss + 0.3);
  }
}
