// Muon, and averages of the weights, in whole trainings.

#include <cmath>

#include "tests/models/small_training.h"

using namespace zeroth;

namespace {

TrainerConfig averaging_config() {
  TrainerConfig config = small_config();
  config.optimizer.kind = OptimizerKind::muon;
  config.optimizer.nesterov = true;
  config.rates[static_cast<std::size_t>(ParameterGroup::hidden)] = {0.02, 0.01};
  config.schedule.epochs = 5.0;
  config.ema_decay = 0.5;
  config.lookahead = {3, 0.25, 2.0};
  return config;
}

/// The tensors of one prefix, the prefix taken off.
SmallTraining::Values behind(const SmallTraining::Values& all, const std::string& prefix) {
  SmallTraining::Values found;
  for (const auto& [name, values] : all)
    if (name.starts_with(prefix)) found.emplace_back(name.substr(prefix.size()), values);
  return found;
}

/// Weights and state, in the order in which averages of them stand in a checkpoint.
SmallTraining::Values weights_of(const SmallTraining& training) {
  SmallTraining::Values found;
  for (auto& [name, values] : training.values())
    if (name != Trainer::kMetricsName && name.find("optimizer.") != 0 && name.find("guard.") != 0 &&
        name.find("ema.") != 0 && name.find("lookahead.") != 0)
      found.emplace_back(name, std::move(values));
  return found;
}

void check_close(const SmallTraining::Values& actual, const SmallTraining::Values& expected) {
  REQUIRE(actual.size() == expected.size());
  for (std::size_t t = 0; t < actual.size(); ++t) {
    CAPTURE(actual[t].first);
    REQUIRE(actual[t].first == expected[t].first);
    double worst = 0.0;  // in roundings of numbers of this size
    for (std::size_t i = 0; i < actual[t].second.size(); ++i) {
      const double size = std::fabs(expected[t].second[i]) + 1e-3;
      worst = std::max(worst, std::fabs(actual[t].second[i] - expected[t].second[i]) / size);
    }
    CHECK(worst < 64 * 0x1p-24);
  }
}

/// average += share * (values - average)
void follow(SmallTraining::Values& average, const SmallTraining::Values& values, double share) {
  for (std::size_t t = 0; t < average.size(); ++t)
    for (std::size_t i = 0; i < average[t].second.size(); ++i)
      average[t].second[i] += share * (values[t].second[i] - average[t].second[i]);
}

}  // namespace

TEST_CASE("a training with Muon and averages resumes to the same bits", "[training][averages]") {
  const TrainerConfig config = averaging_config();
  SmallTraining whole(config), start(config), rest(config);
  for (int step = 0; step < 11; ++step) whole.trainer.step();
  for (int step = 0; step < 7; ++step) start.trainer.step();  // between two steps of the slow weights
  rest.continue_from(start, 7);
  for (int step = 7; step < 11; ++step) rest.trainer.step();
  CHECK(whole.values() == rest.values());
  CHECK(behind(whole.values(), "ema.") != behind(whole.values(), "lookahead."));
}

TEST_CASE("the EMA is the average of the weights after each step", "[training][averages]") {
  TrainerConfig config = averaging_config();
  config.lookahead = {};
  SmallTraining training(config);
  SmallTraining::Values average = weights_of(training);
  CHECK(behind(training.values(), "ema.") == average);
  for (int step = 1; step <= 12; ++step) {
    training.trainer.step();
    follow(average, weights_of(training), std::max(0.5, 9.0 / (9.0 + step)));
  }
  check_close(behind(training.values(), "ema."), average);
  config.ema_decay.reset();
  SmallTraining plain(config);  // beside the training: it moves no bit of it
  for (int step = 0; step < 12; ++step) plain.trainer.step();
  CHECK(weights_of(plain) == weights_of(training));
}

TEST_CASE("slow weights move every third step, and the fast ones go on from there", "[training][averages]") {
  TrainerConfig config = averaging_config();
  config.ema_decay.reset();
  SmallTraining training(config);
  SmallTraining::Values slow = weights_of(training);
  for (int step = 1; step <= 9; ++step) {
    training.trainer.step();
    const SmallTraining::Values kept = behind(training.values(), "lookahead.");
    CHECK((weights_of(training) == kept) == (step % 3 == 0));
  }
  // The first move, from what the same training without slow weights comes to: 20 steps in all.
  config.lookahead = {};
  SmallTraining alone(config), begun(averaging_config());
  for (int step = 0; step < 3; ++step) {
    alone.trainer.step();
    begun.trainer.step();
  }
  follow(slow, weights_of(alone), 1.0 - 0.75 * std::pow(3.0 / 20.0, 2.0));
  check_close(behind(begun.values(), "lookahead."), slow);
}

TEST_CASE("averages are what is evaluated, and the training keeps its bits", "[training][averages]") {
  for (const DType working : {DType::f32, DType::bf16}) {
    TrainerConfig config = averaging_config();
    config.ema_decay = 0.9;
    const DeviceKind device = working == DType::f32 ? DeviceKind::cpu : DeviceKind::simt;
    SmallTraining training(config, 64, working, device), other(config, 64, working, device);
    for (int step = 0; step < 4; ++step) training.trainer.step();
    const SmallTraining::Values before = training.values();
    const PictureSet set = random_pictures(training.context, 20, 8);
    const double loss = training.trainer.evaluate(set).metrics.loss;
    CHECK(training.values() == before);
    CHECK(loss != evaluate(training.context, training.network, set, config).metrics.loss);
    // A network that has the averages for its weights.
    SmallTraining averaged(config, 64, working, device);
    std::size_t filled = 0;
    const SmallTraining::Values average = behind(before, "ema.");
    for (const NamedTensor& tensor : averaged.trainer.tensors())
      for (const auto& [name, numbers] : average) {
        if (name != tensor.name) continue;
        const std::vector<float> values(numbers.begin(), numbers.end());
        tensor.value.copy_from(averaged.context, std::as_bytes(std::span(values)));
        ++filled;
      }
    REQUIRE(filled == average.size());
    averaged.network.store().refresh_working_values(averaged.context);
    const PictureSet same = random_pictures(averaged.context, 20, 8);
    CHECK(evaluate(averaged.context, averaged.network, same, config).metrics.loss == loss);
    // The next step is the one it would have been.
    for (int step = 0; step < 4; ++step) other.trainer.step();
    training.trainer.step();
    other.trainer.step();
    CHECK(training.values() == other.values());
  }
}

TEST_CASE("averages can begin anew, and can be left out of evaluations", "[training][averages]") {
  TrainerConfig config = averaging_config();
  config.evaluate_averaged = false;
  SmallTraining training(config);
  for (int step = 0; step < 4; ++step) training.trainer.step();
  const PictureSet set = random_pictures(training.context, 20, 8);
  CHECK(training.trainer.evaluate(set).metrics.loss ==
        evaluate(training.context, training.network, set, config).metrics.loss);
  training.trainer.restart_averages();
  for (const char* prefix : {"ema.", "lookahead."})
    CHECK(behind(training.values(), prefix) == weights_of(training));
}

TEST_CASE("steps that the guard skips are no steps of the averages", "[training][averages]") {
  TrainerConfig config = averaging_config();
  config.optimizer.guard.loss_scale = 0x1p24;  // overflows
  config.optimizer.guard.params.dynamic = true;
  SmallTraining training(config, 64, DType::f16);
  const auto parts = [&] {
    SmallTraining::Values values = training.values();
    std::erase_if(values, [](const auto& tensor) { return tensor.first.starts_with("guard."); });
    return values;
  };
  const SmallTraining::Values before = parts();
  training.trainer.step();
  CHECK(training.trainer.take_report().skipped == 1);
  CHECK(parts() == before);
}

TEST_CASE("Muon trains hidden filters, and a network with it overfits a batch", "[training][averages]") {
  TrainerConfig config = averaging_config();
  config.augmentation = Augmentation::none();
  config.ema_decay.reset();
  config.lookahead = {};
  SmallTraining training(config, 16);
  std::size_t hidden = 0, weights = 0;
  for (const Parameter& parameter : training.network.store().parameters()) {
    hidden += parameter.group == ParameterGroup::hidden;
    weights += parameter.group == ParameterGroup::weight;
  }
  CHECK(hidden == 8);   // six 3x3 filters and two 1x1 shortcuts
  CHECK(weights == 2);  // the first and the last layer
  training.trainer.step();
  const double before = training.trainer.take_metrics().loss;
  for (int step = 0; step < 80; ++step) training.trainer.step();
  training.trainer.take_metrics();
  training.trainer.step();
  CHECK(before > 1.5);
  CHECK(training.trainer.take_metrics().loss < 0.05);
}
