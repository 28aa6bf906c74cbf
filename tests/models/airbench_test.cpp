#include "models/airbench.h"

#include <cmath>
#include <numeric>

#include "models/whitening.h"
#include "tests/models/small_training.h"

using namespace zeroth;

namespace {

/// The smallest pictures and few channels.
AirbenchConfig small_airbench() {
  AirbenchConfig config;
  config.widths = {24, 32, 32};
  config.height = config.width = 25;
  return config;
}

struct AirbenchTraining {
  Context context;
  Airbench network;
  PictureSet pictures;
  Trainer trainer;

  explicit AirbenchTraining(DeviceKind device = DeviceKind::cpu, StepMode mode = StepMode::eager,
                            DType working = DType::f32)
      : context({device, 0}),
        network(small_airbench()),
        pictures(random_pictures(context, 16, 25)),
        trainer(context, prepared(network, context, working), pictures, config_with(mode), [](std::uint32_t) {
          std::vector<std::int32_t> order(16);
          std::iota(order.begin(), order.end(), 0);
          return order;
        }) {
    network.initialise_from(context, pictures, trainer.config());
  }
  static TrainerConfig config_with(StepMode mode) {
    TrainerConfig config = small_config();
    config.batch_size = 8;
    config.optimizer.nesterov = true;
    config.label_smoothing = 0.2;
    config.augmentation = {Flip::alternating, 2, true, 0};
    config.step_mode = mode;
    return config;
  }
  static Airbench& prepared(Airbench& network, Context& context, DType working) {
    network.store().materialise(context, 5, working);
    return network;
  }
  std::vector<float> weights() const { return network.store().flat_values().to_host<float>(context); }
};

}  // namespace

TEST_CASE("eigenvectors turn a matrix into its eigenvalues", "[airbench]") {
  const std::vector<double> matrix = {4.0, 1.0, -2.0, 1.0, 3.0, 0.5, -2.0, 0.5, 6.0};
  const Eigen eigen = eigen_decomposition(matrix, 3);
  CHECK(eigen.values[0] >= eigen.values[1]);
  CHECK(eigen.values[1] >= eigen.values[2]);
  CHECK(std::fabs(eigen.values[0] + eigen.values[1] + eigen.values[2] - 13.0) < 1e-12);  // the trace
  for (std::size_t v = 0; v < 3; ++v)
    for (std::size_t row = 0; row < 3; ++row) {
      double product = 0.0;
      for (std::size_t i = 0; i < 3; ++i) product += matrix[row * 3 + i] * eigen.vectors[v * 3 + i];
      CHECK(std::fabs(product - eigen.values[v] * eigen.vectors[v * 3 + row]) < 1e-12);
    }
}

TEST_CASE("whitening filters whiten the patches they were made from", "[airbench]") {
  constexpr std::int64_t kCount = 6, kSide = 9, kChannels = 3;
  std::vector<float> values;
  for (std::int64_t i = 0; i < kCount * kSide * kSide * kChannels; ++i) {
    const double own = uniform_unit(philox(3, 0, static_cast<std::uint64_t>(i), RandomUse::test).word[0]);
    // Neighbours are alike, as in pictures.
    values.push_back(static_cast<float>(
        own + (i >= kChannels ? values[static_cast<std::size_t>(i - kChannels)] : 0.0f) * 0.8));
  }
  const std::vector<float> filters = whitening_filters({values, kCount, kSide, kSide, kChannels}, 2, 0.0);
  constexpr std::size_t kD = 12;
  REQUIRE(filters.size() == 2 * kD * kD);
  std::vector<double> moments(kD * kD);
  double patches = 0.0;
  for (std::size_t n = 0; n < kCount; ++n)
    for (std::size_t y = 0; y + 2 <= kSide; ++y)
      for (std::size_t x = 0; x + 2 <= kSide; ++x, ++patches) {
        double out[kD] = {};
        for (std::size_t f = 0; f < kD; ++f)
          for (std::size_t r = 0; r < 2; ++r)
            for (std::size_t k = 0; k < 2 * kChannels; ++k)
              out[f] += static_cast<double>(filters[f * kD + r * 2 * kChannels + k]) *
                        static_cast<double>(values[((n * kSide + y + r) * kSide + x) * kChannels + k]);
        for (std::size_t i = 0; i < kD; ++i)
          for (std::size_t j = 0; j < kD; ++j) moments[i * kD + j] += out[i] * out[j];
      }
  for (std::size_t i = 0; i < kD; ++i)
    for (std::size_t j = 0; j < kD; ++j) CHECK(std::fabs(moments[i * kD + j] / patches - (i == j)) < 1e-4);
  for (std::size_t i = 0; i < kD * kD; ++i) CHECK(filters[kD * kD + i] == -filters[i]);
}

TEST_CASE("parameter and multiply-add counts of airbench", "[airbench][models]") {
  const Airbench network{AirbenchConfig{}};
  // By hand: 3x3 filters 24-64-64-256-256-256-256, a bias for each channel of the six norms, the head.
  const std::int64_t filters = 9 * (24 * 64 + 64 * 64 + 64 * 256 + 3 * 256 * 256);
  CHECK(network.store().count() == filters + 2 * (64 + 256 + 256) + 2560);
  std::int64_t listed = 0;
  for (const LayerInfo& layer : network.layers()) listed += layer.parameters;
  CHECK(listed == network.store().count());
  CHECK(network.multiply_adds() == 31 * 31 * 24 * 12 +
                                       9 * (31 * 31 * 24 * 64 + 15 * 15 * (64 * 64 + 64 * 256) +
                                            7 * 7 * (256 * 256 + 256 * 256) + 3 * 3 * 256 * 256) +
                                       2560);
  AirbenchConfig tiny;
  tiny.height = 24;
  CHECK_THROWS_AS(Airbench(tiny), Error);
}

TEST_CASE("airbench begins as the identity, and what is frozen stays", "[airbench]") {
  AirbenchTraining training;
  const auto value_of = [&](const std::string& name) {
    for (const Parameter& parameter : training.network.store().parameters())
      if (parameter.name == name) return parameter.value.to_host<float>(training.context);
    FAIL("no parameter " << name);
    return std::vector<float>();
  };
  const std::vector<float> first = value_of("group1.conv2.weight");  // (24, 3, 3, 24)
  for (std::size_t k = 0; k < 24; ++k)
    for (std::size_t i = 0; i < 9 * 24; ++i) CHECK(first[k * 216 + i] == (i == 4 * 24 + k ? 1.0f : 0.0f));
  const std::vector<float> wider = value_of("group2.conv1.weight");  // (32, 3, 3, 24): eight more
  CHECK(wider[24 * 216] != 0.0f);
  CHECK(std::fabs(wider[24 * 216]) < 1.0f / std::sqrt(216.0f));

  const char* frozen[] = {"whiten.weight", "group1.norm1.weight", "group3.norm2.weight", "head.bias"};
  const char* trained[] = {"group1.conv1.weight", "group1.norm1.bias", "group3.conv2.weight", "head.weight"};
  std::vector<std::vector<float>> before;
  for (const char* name : frozen) before.push_back(value_of(name));
  for (const char* name : trained) before.push_back(value_of(name));
  for (int step = 0; step < 4; ++step) training.trainer.step();
  std::size_t at = 0;
  for (const char* name : frozen) CHECK((value_of(name) == before[at++]));
  for (const char* name : trained) CHECK((value_of(name) != before[at++]));
}

TEST_CASE("airbench overfits a few pictures", "[airbench]") {
  AirbenchTraining training;
  for (int step = 0; step < 4; ++step) training.trainer.step();
  const double first = training.trainer.take_metrics().loss;
  for (int step = 0; step < 40; ++step) training.trainer.step();
  training.trainer.take_metrics();
  for (int step = 0; step < 4; ++step) training.trainer.step();
  CHECK(training.trainer.take_metrics().loss < 0.75 * first);
}

TEST_CASE("captured steps of airbench give the bits of eager ones", "[airbench][modes]") {
  for (const DType working : {DType::f32, DType::bf16}) {
    AirbenchTraining eager(DeviceKind::simt, StepMode::eager, working),
        captured(DeviceKind::simt, StepMode::captured, working);
    for (int step = 0; step < 4; ++step) {
      eager.trainer.step();
      captured.trainer.step();
    }
    CHECK(captured.trainer.step_mode() == StepMode::captured);
    CHECK(captured.trainer.step_notice() == "");
    CHECK((eager.weights() == captured.weights()));
  }
}
