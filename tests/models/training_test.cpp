#include <cmath>
#include <cstring>
#include <numeric>

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/core/philox.h"
#include "kernels/relu/relu.h"
#include "kernels/residual/residual.h"
#include "tests/models/small_training.h"

using namespace zeroth;

namespace {

bool same_bits(const Context& context, const Tensor& a, const Tensor& b) {
  const auto left = a.to_host<float>(context), right = b.to_host<float>(context);
  return left.size() == right.size() &&
         std::memcmp(left.data(), right.data(), left.size() * sizeof(float)) == 0;
}

}  // namespace

TEST_CASE("training twice gives the same bits", "[training]") {
  SmallTraining first(small_config()), second(small_config());
  for (int step = 0; step < 6; ++step) {
    first.trainer.step();
    second.trainer.step();
  }
  CHECK(first.values() == second.values());
  CHECK(first.trainer.take_metrics().loss == second.trainer.take_metrics().loss);
}

TEST_CASE("a resumed training computes the bits of an uninterrupted one", "[training]") {
  for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::adamw}) {
    TrainerConfig config = small_config();
    config.optimizer.kind = kind;
    config.schedule = {ScheduleKind::step, {1.5}, 0.1, 0.5, 3.0};
    SmallTraining whole(config), start(config), rest(config);
    for (int step = 0; step < 11; ++step) whole.trainer.step();
    for (int step = 0; step < 7; ++step) start.trainer.step();  // in the middle of an epoch of 4 steps
    rest.continue_from(start, 7);
    for (int step = 7; step < 11; ++step) rest.trainer.step();
    CHECK(whole.values() == rest.values());
  }
}

TEST_CASE("a network overfits one batch", "[training]") {
  TrainerConfig config = small_config();
  config.augmentation = Augmentation::none();
  SmallTraining training(config, 16);
  training.trainer.step();
  const double before = training.trainer.take_metrics().loss;
  for (int step = 0; step < 80; ++step) training.trainer.step();
  training.trainer.take_metrics();
  training.trainer.step();
  const Metrics after = training.trainer.take_metrics();
  CHECK(before > 1.5);
  CHECK(after.loss < 0.05);
  CHECK(after.correct == 16);
}

// The CPU computes bf16 where oneDNN can; the CUDA kernels, run on the host, take both.
TEST_CASE("a network overfits one batch in mixed precision", "[training]") {
  TrainerConfig config = small_config();
  config.augmentation = Augmentation::none();
  for (const DType working : {DType::bf16, DType::f16}) {
    INFO(name_of(working));
    SmallTraining training(config, 16, working, DeviceKind::simt);
    training.trainer.step();
    const double before = training.trainer.take_metrics().loss;
    for (int step = 0; step < 50; ++step) training.trainer.step();
    training.trainer.take_metrics();
    training.trainer.step();
    CHECK(before > 1.5);
    CHECK(training.trainer.take_metrics().loss < 0.1);
    // The masters keep what 16 bits cannot hold, and the working weights are the masters, rounded.
    bool finer = false;
    for (const Parameter& parameter : training.network.store().parameters()) {
      if (!is_weight(parameter.group)) continue;
      dispatch_storage(working, [&]<class T>(TypeTag<T>) {
        const auto master = parameter.value.to_host<float>(training.context);
        const auto narrow = parameter.working_value.to_host<T>(training.context);
        for (std::size_t i = 0; i < master.size(); ++i) {
          REQUIRE(to_compute(narrow[i]) == to_compute(from_compute<T>(master[i])));
          finer = finer || to_compute(narrow[i]) != master[i];
        }
      });
    }
    CHECK(finer);
  }
}

TEST_CASE("a training resumed in mixed precision computes the same bits", "[training]") {
  const TrainerConfig config = small_config();
  SmallTraining whole(config, 64, DType::bf16, DeviceKind::simt),
      rest(config, 64, DType::bf16, DeviceKind::simt);
  for (int step = 0; step < 3; ++step) whole.trainer.step();
  rest.continue_from(whole, 3);
  for (int step = 3; step < 6; ++step) {
    whole.trainer.step();
    rest.trainer.step();
  }
  CHECK(whole.values() == rest.values());
}

// The first scale is far too large for f16: (softmax - target) * 2^24 / 16 overflows.
TEST_CASE("a loss scale that is too large falls until the network trains", "[training]") {
  TrainerConfig config = small_config();
  config.augmentation = Augmentation::none();
  config.optimizer.guard.loss_scale = 0x1p24;
  config.optimizer.guard.params.dynamic = true;
  SmallTraining training(config, 16, DType::f16);
  const auto without_guard = [&] {
    SmallTraining::Values values = training.values();
    std::erase_if(values, [](const auto& tensor) { return tensor.first.starts_with("guard."); });
    return values;
  };
  const auto before = without_guard();
  training.trainer.step();
  StepReport report = training.trainer.take_report();
  CHECK(report.loss_scale == 0x1p23);
  CHECK(report.first_bad_step == 1);
  CHECK(without_guard() == before);
  CHECK(training.trainer.take_metrics().rows == 0);  // nothing of the step counts
  for (int step = 0; step < 80; ++step) training.trainer.step();
  report = training.trainer.take_report();
  CHECK(report.skipped > 2);
  CHECK(report.skipped < 12);
  CHECK(report.loss_scale == std::ldexp(1.0, 24 - static_cast<int>(report.skipped)));
  training.trainer.take_metrics();
  training.trainer.step();
  CHECK(training.trainer.take_metrics().loss < 0.1);
}

// Errors are those of rounded activations, and of ReLUs whose input is so small that rounding decides their
// side.
TEST_CASE("a scaled step in f16 is more exact than one in bf16", "[training]") {
  const auto momentum = [](DType working, double loss_scale) {
    TrainerConfig config = small_config();
    config.optimizer.guard.loss_scale = loss_scale;
    SmallTraining training(config, 64, working);
    training.trainer.step();
    CHECK(training.trainer.take_report().skipped == 0);
    std::vector<double> all;  // the unscaled gradients
    for (const auto& [name, values] : training.values())
      if (name.starts_with("optimizer.momentum")) all.insert(all.end(), values.begin(), values.end());
    return all;
  };
  const std::vector<double> exact = momentum(DType::f32, 1.0);
  const auto error = [&](const std::vector<double>& other) {
    double difference = 0.0, size = 0.0;
    for (std::size_t i = 0; i < exact.size(); ++i) {
      difference += std::pow(other[i] - exact[i], 2);
      size += std::pow(exact[i], 2);
    }
    return std::sqrt(difference / size);
  };
  CHECK(error(momentum(DType::f32, 4096.0)) < 1e-6);
  const double of_f16 = error(momentum(DType::f16, 4096.0));
  CHECK(of_f16 < error(momentum(DType::bf16, 1.0)));
  // What the scale is for: a thousandth of the loss loses gradients below f16's smallest number.
  CHECK(error(momentum(DType::f16, 0x1p-10)) > 2.0 * of_f16);
}

TEST_CASE("evaluation counts every picture once, whatever the batch", "[training]") {
  SmallTraining training(small_config());
  const PictureSet set = random_pictures(training.context, 1003, 8);
  const Evaluation all = training.trainer.evaluate(set);
  CHECK(all.metrics.rows == 1003);
  CHECK(std::accumulate(all.class_rows.begin(), all.class_rows.end(), std::int64_t{0}) == 1003);
  CHECK(std::accumulate(all.class_correct.begin(), all.class_correct.end(), std::int64_t{0}) ==
        all.metrics.correct);
  CHECK(all.class_rows[0] == 101);
  CHECK(all.class_rows[9] == 100);
  const std::vector<std::int32_t> some{5, 7, 1002};
  CHECK(training.trainer.evaluate(set, some).metrics.rows == 3);
}

TEST_CASE("test-time augmentation averages logits", "[training]") {
  SmallTraining training(small_config());
  for (int step = 0; step < 3; ++step) training.trainer.step();
  PictureSet set = random_pictures(training.context, 30, 8);
  const auto loss = [&](const PictureSet& pictures, TestViews views) {
    return training.trainer.evaluate(pictures, {}, views).metrics.loss;
  };
  // Mirrored pictures show the same two views in the other order.
  PictureSet mirrored = set;
  const Shape shape = set.pictures.shape();
  const std::vector<std::uint8_t> bytes = set.pictures.to_host<std::uint8_t>(training.context);
  std::vector<std::uint8_t> other(bytes.size());
  const auto w = static_cast<std::size_t>(shape[2]), c = static_cast<std::size_t>(shape[3]);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::size_t row = i / (w * c), z = i / c % w;
    other[(row * w + w - 1 - z) * c + i % c] = bytes[i];
  }
  mirrored.pictures = Tensor::from_host<std::uint8_t>(training.context, shape, other);
  const double one = loss(set, TestViews::one), one_mirrored = loss(mirrored, TestViews::one);
  const double two = loss(set, TestViews::flip), six = loss(set, TestViews::translate);
  CHECK(std::abs(one - one_mirrored) > 1e-4);
  CHECK(std::abs(two - loss(mirrored, TestViews::flip)) < 1e-6);
  // Cross entropy is convex in the logits (Jensen), and the views differ.
  CHECK(two < 0.5 * (one + one_mirrored));
  // Pictures moved by hand, what comes in reflected: half of the weight is theirs.
  const auto moved = [&](std::int64_t by) {
    const auto h = static_cast<std::size_t>(shape[1]);
    const auto source = [&](std::size_t i, std::size_t size) {
      const std::int64_t place = std::abs(static_cast<std::int64_t>(i) + by),
                         last = static_cast<std::int64_t>(size) - 1;
      return static_cast<std::size_t>(place > last ? 2 * last - place : place);
    };
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const std::size_t n = i / (h * w * c), y = i / (w * c) % h, z = i / c % w;
      other[i] = bytes[((n * h + source(y, h)) * w + source(z, w)) * c + i % c];
    }
    PictureSet result = set;
    result.pictures = Tensor::from_host<std::uint8_t>(training.context, shape, other);
    return loss(result, TestViews::flip);
  };
  CHECK(six < 0.5 * two + 0.25 * moved(-1) + 0.25 * moved(1));
  CHECK(std::abs(six - two) > 1e-5);
  // One colour looks the same from everywhere.
  PictureSet plain = set;
  plain.pictures =
      Tensor::from_host<std::uint8_t>(training.context, shape, std::vector<std::uint8_t>(bytes.size(), 90));
  CHECK(std::abs(loss(plain, TestViews::translate) - loss(plain, TestViews::one)) < 1e-6);
  CHECK(training.trainer.evaluate(set, {}, TestViews::translate).metrics.rows == 30);
}

TEST_CASE("mixup changes what is learned, and the same again", "[training]") {
  const auto after = [](double alpha) {
    TrainerConfig config = small_config();
    config.mixup = alpha;
    SmallTraining training(config);
    for (int step = 0; step < 5; ++step) training.trainer.step();
    CHECK(training.trainer.take_metrics().rows == 80);
    return training.values();
  };
  const auto plain = after(0.0), mixed = after(1.0);
  CHECK((mixed != plain));
  CHECK((mixed == after(1.0)));
  CHECK((mixed != after(0.3)));
  // So small an alpha gives shares of 1: every picture stays as it is, every second label weighs nothing.
  CHECK((after(1e-6) == plain));
}

TEST_CASE("a training with mixup that is resumed computes the same bits", "[training]") {
  TrainerConfig config = small_config();
  config.mixup = 0.5;
  SmallTraining whole(config), start(config), rest(config);
  for (int step = 0; step < 7; ++step) whole.trainer.step();
  for (int step = 0; step < 3; ++step) start.trainer.step();
  rest.continue_from(start, 3);
  for (int step = 3; step < 7; ++step) rest.trainer.step();
  CHECK((rest.values() == whole.values()));
}

TEST_CASE("a batch larger than the set is refused", "[training]") {
  TrainerConfig config = small_config();
  config.batch_size = 65;
  CHECK_THROWS_AS(SmallTraining(config), Error);
}

TEST_CASE("with alpha 0 only alphas and the path of shortcuts learn", "[training]") {
  Context context({DeviceKind::cpu, 0});
  ResNet network(SmallTraining::small_network());
  network.store().materialise(context, 5);
  Tape tape(context, Tape::Mode::training);
  const std::vector<float> pixels(4 * 8 * 8 * 3, 0.3f);
  const std::vector<std::int32_t> classes{1, 2, 3, 4};
  Variable x = tape.constant(Tensor::from_host<float>(context, {4, 8, 8, 3}, pixels));
  const Loss loss = softmax_cross_entropy(tape, network.forward(tape, x),
                                          Tensor::from_host<std::int32_t>(context, {4}, classes), 0.0, {});
  const float one = 1.0f;
  tape.backward(loss.loss, Tensor::from_host<float>(context, {1}, std::span(&one, 1)));
  for (const Parameter& parameter : network.store().parameters()) {
    CAPTURE(parameter.name);
    const auto gradient = parameter.gradient.to_host<float>(context);
    const bool zero = std::all_of(gradient.begin(), gradient.end(), [](float g) { return g == 0.0f; });
    const bool inside =
        parameter.name.find(".conv") != std::string::npos || parameter.name.find(".bn") != std::string::npos;
    if (inside) CHECK(zero);
    if (parameter.name.starts_with("fc.")) CHECK_FALSE(zero);
  }
}

TEST_CASE("the tape and a hand-written schedule of the same block give the same bits", "[training]") {
  Context context({DeviceKind::cpu, 0});
  ParameterStore store;
  Parameter& w = store.add("w", {16, 3, 3, 16}, ParameterGroup::weight, Initialisation::kaiming_normal(144));
  Parameter& gamma = store.add("gamma", {16}, ParameterGroup::norm, Initialisation::constant(1.2));
  Parameter& beta = store.add("beta", {16}, ParameterGroup::norm, Initialisation::constant(-0.1));
  Parameter& alpha = store.add("alpha", {1}, ParameterGroup::alpha, Initialisation::constant(0.6));
  store.add_state("mean", {16}, 0.0);
  store.add_state("var", {16}, 1.0);
  store.materialise(context, 1);
  const auto random = [&](const Shape& shape, std::uint64_t key) {
    std::vector<float> values(static_cast<std::size_t>(shape.elements()));
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = uniform_unit(philox(key, 0, i, RandomUse::test).word[0]) - 0.5f;
    return Tensor::from_host<float>(context, shape, values);
  };
  const Shape shape{4, 8, 8, 16};
  const Tensor x = random(shape, 1), dy = random(shape, 2);
  const Tensor running_mean = Tensor::zeros(context, {16}, DType::f32),
               running_var = Tensor::zeros(context, {16}, DType::f32);

  Tape tape(context, Tape::Mode::training);
  const Variable in = tape.input(x);
  const Variable f =
      relu(tape, batch_norm(tape, conv2d(tape, in, tape.parameter(w), 1, 1), tape.parameter(gamma),
                            tape.parameter(beta), running_mean, running_var));
  const Variable y = residual(tape, ResidualForm::post, f, in, tape.parameter(alpha));
  tape.backward(y, random(shape, 2));

  const Conv2dParams conv{4, 8, 8, 16, 16, 3, 3, 1, 1};
  const BatchNormParams norm{4 * 8 * 8, 16};
  const ResidualParams join{ResidualForm::post, shape.elements()};
  const auto empty = [&](const Shape& s) { return Tensor::empty(context, s, DType::f32); };
  const Tensor c = empty(shape), b = empty(shape), r = empty(shape), out = empty(shape);
  const Tensor mean = empty({16}), inverse_std = empty({16}),
               hand_mean = Tensor::zeros(context, {16}, DType::f32);
  const Tensor hand_var = Tensor::zeros(context, {16}, DType::f32);
  const auto conv_scratch = [&](Conv2dPass pass, GradMode mode = GradMode::overwrite) {
    return context.scratch(conv2d_workspace(context, conv, pass, mode));
  };
  conv2d_forward(context, conv, x, w.value, c, conv_scratch(Conv2dPass::forward));
  batch_norm_forward_training(context, norm, c, gamma.value, beta.value, hand_mean, hand_var, b, mean,
                              inverse_std, context.scratch(batch_norm_workspace(context, norm)));
  relu_forward(context, b, r);
  residual_forward(context, join, r, x, alpha.value, out);
  const Tensor dr = empty(shape), dx = empty(shape), dw = empty(w.shape), dgamma = empty({16}),
               dbeta = empty({16}), dalpha = empty({1});
  residual_backward(context, join, dy, r, out, alpha.value, dr, GradMode::overwrite, dx, GradMode::overwrite,
                    dalpha, GradMode::overwrite, context.scratch(residual_workspace(context, join)));
  relu_backward(context, dr, r, dr, GradMode::overwrite);
  batch_norm_backward(context, norm, dr, c, gamma.value, mean, inverse_std, dr, GradMode::overwrite, dgamma,
                      dbeta, GradMode::overwrite, context.scratch(batch_norm_workspace(context, norm)));
  conv2d_backward_weight(context, conv, x, dr, dw, GradMode::overwrite,
                         conv_scratch(Conv2dPass::backward_weight));
  conv2d_backward_data(context, conv, dr, w.value, dx, GradMode::accumulate,
                       conv_scratch(Conv2dPass::backward_data, GradMode::accumulate));

  CHECK(same_bits(context, y.value, out));
  CHECK(same_bits(context, tape.gradient(in), dx));
  CHECK(same_bits(context, w.gradient, dw));
  CHECK(same_bits(context, gamma.gradient, dgamma));
  CHECK(same_bits(context, beta.gradient, dbeta));
  CHECK(same_bits(context, alpha.gradient, dalpha));
  CHECK(same_bits(context, running_mean, hand_mean));
  CHECK(same_bits(context, running_var, hand_var));
}
