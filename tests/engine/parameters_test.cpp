#include "engine/parameters.h"

#include <cmath>

#include "engine/optimizer.h"
#include "tests/catch.h"

using namespace zeroth;

TEST_CASE("parameters lie in the flat buffers on boundaries of 256 bytes, gaps zero", "[parameters]") {
  Context context({DeviceKind::cpu, 0});
  ParameterStore store;
  Parameter& first = store.add("first", {3}, ParameterGroup::weight, Initialisation::constant(2.0));
  Parameter& second = store.add("second", {65}, ParameterGroup::norm, Initialisation::constant(3.0));
  Parameter& third = store.add("third", {1}, ParameterGroup::alpha, Initialisation::constant(4.0));
  store.materialise(context, 0);
  CHECK(first.offset == 0);
  CHECK(second.offset == 64);
  CHECK(third.offset == 192);
  CHECK(store.count() == 69);
  const auto flat = store.flat_values().to_host<float>(context);
  REQUIRE(flat.size() == 256);
  double sum = 0.0;
  for (const float value : flat) sum += value;
  CHECK(sum == 3 * 2.0 + 65 * 3.0 + 4.0);
  const std::vector<std::uint8_t> groups{0, 2, 2, 3};
  CHECK(store.group_of_segment().to_host<std::uint8_t>(context) == groups);
}

TEST_CASE("Kaiming normal has its variance, uniform its bounds, and both follow the seed", "[parameters]") {
  Context context({DeviceKind::cpu, 0});
  const auto make = [&](std::uint64_t seed) {
    ParameterStore store;
    store.add("normal", {64, 3, 3, 64}, ParameterGroup::weight, Initialisation::kaiming_normal(576));
    store.add("uniform", {10'001}, ParameterGroup::bias, Initialisation::uniform(0.125));
    store.materialise(context, seed);
    return std::pair{store.parameters()[0].value.to_host<float>(context),
                     store.parameters()[1].value.to_host<float>(context)};
  };
  const auto [normal, uniform] = make(1);
  double mean = 0.0, square = 0.0, fourth = 0.0;
  for (const float value : normal) mean += value;
  mean /= static_cast<double>(normal.size());
  for (const float value : normal) square += std::pow(value - mean, 2), fourth += std::pow(value - mean, 4);
  const double count = static_cast<double>(normal.size()), variance = square / count;
  const double expected = 2.0 / 576;
  // Five standard errors: sqrt(var / n) for the mean, var sqrt(2 / n) for the variance, sqrt(96 / n) for the
  // kurtosis of 3.
  CHECK(std::abs(mean) < 5 * std::sqrt(expected / count));
  CHECK(std::abs(variance - expected) < 5 * expected * std::sqrt(2 / count));
  CHECK(std::abs(fourth / count / (variance * variance) - 3.0) < 5 * std::sqrt(96 / count));
  float low = 0.0f, high = 0.0f;
  for (const float value : uniform) low = std::min(low, value), high = std::max(high, value);
  CHECK(low >= -0.125f);
  CHECK(high <= 0.125f);
  CHECK(high - low > 0.24f);
  CHECK(make(1).first == normal);
  CHECK(make(2).first != normal);
}

TEST_CASE("each parameter group has its own rate and decay", "[optimizer]") {
  Context context({DeviceKind::cpu, 0});
  ParameterStore store;
  Parameter& weight = store.add("weight", {1}, ParameterGroup::weight, Initialisation::constant(1.0));
  Parameter& alpha = store.add("alpha", {1}, ParameterGroup::alpha, Initialisation::constant(1.0));
  store.materialise(context, 0);
  const std::vector<float> gradient{0.5f};
  weight.gradient.copy_from(context, std::as_bytes(std::span(gradient)));
  alpha.gradient.copy_from(context, std::as_bytes(std::span(gradient)));
  Optimizer optimizer(context, store, OptimizerConfig{});
  std::array<GroupRates, kParameterGroups> rates{};
  rates[static_cast<std::size_t>(ParameterGroup::weight)] = {0.1, 0.5};
  rates[static_cast<std::size_t>(ParameterGroup::alpha)] = {0.01, 0.0};
  optimizer.set_rates(rates);
  optimizer.step();
  CHECK(std::abs(weight.value.to_host<float>(context)[0] - (1.0 - 0.1 * (0.5 + 0.5))) < 1e-6);
  CHECK(std::abs(alpha.value.to_host<float>(context)[0] - (1.0 - 0.01 * 0.5)) < 1e-6);
  CHECK(optimizer.steps_taken() == 1);
}
