#include <cmath>
#include <limits>
#include <utility>

#include "engine/optimizer.h"
#include "kernels/core/philox.h"
#include "tests/catch.h"

using namespace zeroth;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// A weight of several segments, two alphas and a running mean, and an optimizer for them. Gradients are
/// given.
struct SmallStore {
  Context context;
  ParameterStore store;
  Parameter *weight, *alpha;
  StateTensor* mean;
  Optimizer optimizer;

  SmallStore(DeviceKind device, DType working, const OptimizerConfig& config)
      : context({device, 0}), optimizer(context, fill(working), config) {
    std::array<GroupRates, kParameterGroups> rates;
    rates.fill({0.1, 0.05});
    optimizer.set_rates(rates);
  }
  ParameterStore& fill(DType working) {
    weight = &store.add("fc.weight", {150}, ParameterGroup::weight, Initialisation::kaiming_normal(8));
    alpha = &store.add("block.alpha", {2}, ParameterGroup::alpha, Initialisation::constant(0.3));
    mean = &store.add_state("running_mean", {5}, 0.5);
    store.materialise(context, 3, working);
    return store;
  }
  /// One step on gradients that follow from `number`, times the loss scale, as a tape would leave them; one
  /// of them is `planted` where that is not 0.
  void step(int number, float planted = 0.0f) {
    optimizer.guard().begin_step();
    set(mean->value, std::vector<float>(5, static_cast<float>(number)));  // the forward pass
    const auto scale = optimizer.guard().loss_scale().to_host<float>(context)[0];
    std::vector<float> of_weight(150), of_alpha(2);
    for (std::vector<float>* gradient : {&of_weight, &of_alpha})
      for (std::size_t i = 0; i < gradient->size(); ++i)
        (*gradient)[i] =
            scale *
            (uniform_unit(
                 philox(static_cast<std::uint64_t>(number), gradient->size(), i, RandomUse::test).word[0]) -
             0.5f);
    if (planted != 0.0f) of_weight[140] = planted;
    set(weight->working_gradient, of_weight);
    set(alpha->working_gradient, of_alpha);
    optimizer.step();
  }
  void set(const Tensor& tensor, const std::vector<float>& values) {
    dispatch_storage(tensor.dtype(), [&]<class T>(TypeTag<T>) {
      std::vector<T> rounded;
      for (const float value : values) rounded.push_back(from_compute<T>(value));
      tensor.copy_from(context, std::as_bytes(std::span(rounded)));
    });
  }
  /// Weights, moments, working weights and state, bit by bit.
  std::vector<std::vector<std::uint8_t>> bits() {
    std::vector<std::vector<std::uint8_t>> all;
    const auto add = [&](const Tensor& tensor) {
      all.emplace_back(tensor.bytes());
      tensor.copy_to(context, std::as_writable_bytes(std::span(all.back())));
    };
    add(store.flat_values());
    for (const Optimizer::Moment& moment : optimizer.moments()) add(moment.value);
    add(weight->working_value);
    add(mean->value);
    return all;
  }
};

OptimizerConfig config_of(OptimizerKind kind, double loss_scale) {
  OptimizerConfig config;
  config.kind = kind;
  config.guard.loss_scale = loss_scale;
  config.guard.params.dynamic = loss_scale != 1.0;
  return config;
}

template <class Test>
void for_each_setting(Test&& test) {
  for (const DeviceKind device : {DeviceKind::cpu, DeviceKind::simt})
    for (const DType working : {DType::f32, DType::bf16, DType::f16})
      for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::adam, OptimizerKind::adamw}) {
        INFO(name_of(device) << " " << name_of(working) << " " << static_cast<int>(kind));
        test(device, working, kind);
      }
}

}  // namespace

TEST_CASE("an overflow skips exactly its step and halves the scale", "[step_guard]") {
  for_each_setting([](DeviceKind device, DType working, OptimizerKind kind) {
    SmallStore with(device, working, config_of(kind, 1024.0)),
        without(device, working, config_of(kind, 1024.0));
    with.step(1);
    without.step(1);
    const auto before = with.bits();
    for (const float planted : {kInfinity, -kInfinity, std::nanf("")}) {
      with.step(2, planted);
      CHECK((with.bits() == before));
    }
    const StepReport report = with.optimizer.guard().take_report();
    CHECK(report.loss_scale == 128.0);
    CHECK(report.skipped == 3);
    CHECK_FALSE(report.stopped);
    CHECK(report.first_bad_step == 2);
    CHECK(report.first_bad_parameter == "fc.weight");
    CHECK(with.optimizer.steps_taken() == 4);
    // Adam's corrections count updates: the bits are those of a training that never met the bad steps. Scales
    // are powers of two, so unscaled gradients have the same bits too (in f16, while they are normal).
    for (int number = 3; number < 6; ++number) {
      with.step(number);
      without.step(number);
    }
    if (working != DType::f16) CHECK((with.bits() == without.bits()));
    CHECK(with.optimizer.guard().take_report().first_bad_step == 0);
  });
}

// torch.optim.Adam and AdamW (PyTorch 1.13, float64), lr 0.1, weight decay 0.05, on the first and third of
// these gradients.
TEST_CASE("Adam's bias correction after a skipped step is PyTorch's", "[step_guard]") {
  const std::vector<std::vector<float>> gradients{
      {0.1f, -0.2f, 0.3f}, {kInfinity, 0.5f, 0.6f}, {0.7f, 0.8f, -0.9f}};
  for (const auto& [kind, expected] :
       {std::pair{OptimizerKind::adam,
                  std::vector<double>{0.8138295239450535, -1.9422519809395449, 0.4466057229167505}},
        std::pair{OptimizerKind::adamw,
                  std::vector<double>{0.8073870775650379, -1.9365003534194578, 0.4449314859098276}}})
    for (const DeviceKind device : {DeviceKind::cpu, DeviceKind::simt}) {
      Context context({device, 0});
      ParameterStore store;
      Parameter& weight = store.add("w", {3}, ParameterGroup::weight, Initialisation::constant(0.0));
      store.materialise(context, 0);
      const std::vector<float> start{1.0f, -2.0f, 0.5f};
      weight.value.copy_from(context, std::as_bytes(std::span(start)));
      Optimizer optimizer(context, store, config_of(kind, 8.0));
      std::array<GroupRates, kParameterGroups> rates;
      rates.fill({0.1, 0.05});
      optimizer.set_rates(rates);
      for (std::vector<float> gradient : gradients) {
        const float scale = optimizer.guard().loss_scale().to_host<float>(context)[0];
        for (float& value : gradient) value *= scale;
        weight.gradient.copy_from(context, std::as_bytes(std::span(gradient)));
        optimizer.guard().begin_step();
        optimizer.step();
      }
      const std::vector<float> result = weight.value.to_host<float>(context);
      for (std::size_t i = 0; i < 3; ++i) CHECK(std::fabs(result[i] - expected[i]) < 1e-6);
      CHECK(optimizer.guard().updates().to_host<std::int32_t>(context)[0] == 2);
    }
}

// torch.nn.utils.clip_grad_norm_ with max_norm 0.65, then torch.optim.SGD with lr 0.1 (PyTorch 1.13,
// float64).
TEST_CASE("clipping by the global norm is PyTorch's", "[step_guard]") {
  for (const DeviceKind device : {DeviceKind::cpu, DeviceKind::simt})
    for (const double loss_scale : {1.0, 4096.0}) {
      Context context({device, 0});
      ParameterStore store;
      Parameter& a = store.add("a", {2}, ParameterGroup::weight, Initialisation::constant(0.0));
      Parameter& b = store.add("b", {1}, ParameterGroup::bias, Initialisation::constant(0.5));
      store.materialise(context, 0);
      const std::vector<float> start{1.0f, -2.0f};
      a.value.copy_from(context, std::as_bytes(std::span(start)));
      OptimizerConfig config = config_of(OptimizerKind::sgd, loss_scale);
      config.momentum = 0.0;
      config.guard.params.max_norm = 0.65;
      Optimizer optimizer(context, store, config);
      std::array<GroupRates, kParameterGroups> rates;
      rates.fill({0.1, 0.0});
      optimizer.set_rates(rates);
      const auto scale = static_cast<float>(loss_scale);
      const std::vector<float> of_a{0.3f * scale, -1.2f * scale}, of_b{0.4f * scale};
      a.gradient.copy_from(context, std::as_bytes(std::span(of_a)));
      b.gradient.copy_from(context, std::as_bytes(std::span(of_b)));
      optimizer.guard().begin_step();
      optimizer.step();
      CHECK(std::fabs(optimizer.guard().take_report().gradient_norm - 1.3) < 1e-6);
      CHECK(std::fabs(a.value.to_host<float>(context)[0] - 0.9850000115384526) < 1e-6);
      CHECK(std::fabs(a.value.to_host<float>(context)[1] + 1.9400000461538107) < 1e-6);
      CHECK(std::fabs(b.value.to_host<float>(context)[0] - 0.4800000153846035) < 1e-6);
    }
}

TEST_CASE("the scale grows after its interval, and a resumed guard goes on where it was", "[step_guard]") {
  OptimizerConfig config = config_of(OptimizerKind::adamw, 256.0);
  config.guard.params.growth_interval = 3;
  SmallStore whole(DeviceKind::cpu, DType::bf16, config), rest(DeviceKind::cpu, DType::bf16, config);
  const auto steps = [](SmallStore& training, int from, int to) {
    std::vector<double> scales;
    for (int number = from; number <= to; ++number) {
      training.step(number, number == 5 ? kInfinity : 0.0f);
      scales.push_back(training.optimizer.guard().take_report().loss_scale);
    }
    return scales;
  };
  CHECK(steps(whole, 1, 6) == std::vector<double>{256, 256, 512, 512, 256, 256});
  // What a checkpoint carries over.
  const auto carry = [&](const Tensor& from, const Tensor& to) {
    std::vector<std::byte> bytes(from.bytes());
    from.copy_to(whole.context, bytes);
    to.copy_from(rest.context, bytes);
  };
  carry(whole.store.flat_values(), rest.store.flat_values());
  for (std::size_t i = 0; i < 2; ++i)
    carry(whole.optimizer.moments()[i].value, rest.optimizer.moments()[i].value);
  carry(whole.optimizer.guard().loss_scale(), rest.optimizer.guard().loss_scale());
  carry(whole.optimizer.guard().counters(), rest.optimizer.guard().counters());
  rest.store.refresh_working_values(rest.context);
  rest.optimizer.resume_at(6);
  CHECK(steps(whole, 7, 9) == std::vector<double>{256, 512, 512});
  CHECK(steps(rest, 7, 9) == std::vector<double>{256, 512, 512});
  CHECK((whole.bits() == rest.bits()));
  CHECK(rest.optimizer.guard().take_report().skipped == 1);
}

TEST_CASE("a checkpoint without a guard's counters counts every step as an update", "[step_guard]") {
  SmallStore training(DeviceKind::cpu, DType::f32, config_of(OptimizerKind::adamw, 1.0));
  training.optimizer.resume_at(40);
  CHECK(training.optimizer.guard().updates().to_host<std::int32_t>(training.context)[0] == 40);
  training.step(1);
  CHECK(training.optimizer.guard().updates().to_host<std::int32_t>(training.context)[0] == 41);
  training.step(2, kInfinity);
  CHECK(training.optimizer.guard().take_report().first_bad_step == 42);
}

TEST_CASE("with a fixed scale nothing moves after a bad step until the host has noticed", "[step_guard]") {
  for_each_setting([](DeviceKind device, DType working, OptimizerKind kind) {
    SmallStore training(device, working, config_of(kind, 1.0));
    training.step(1);
    const auto before = training.bits();
    training.step(2, std::nanf(""));
    for (int number = 3; number < 6; ++number) training.step(number);
    CHECK((training.bits() == before));
    const StepReport report = training.optimizer.guard().take_report();
    CHECK(report.stopped);
    CHECK(report.first_bad_step == 2);
    CHECK(report.first_bad_parameter == "fc.weight");
  });
}
