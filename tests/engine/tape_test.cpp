#include <cmath>
#include <functional>

#include "engine/functional.h"
#include "engine/network.h"
#include "tests/catch.h"

using namespace zeroth;

namespace {

Tensor counted(Context& context, const Shape& shape, double scale) {
  std::vector<double> values(static_cast<std::size_t>(shape.elements()));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = scale * std::sin(1.0 + 0.7 * static_cast<double>(i));
  return Tensor::from_host<double>(context, shape, values);
}

/// One block with every kind of operation a network uses, in double precision.
struct SmallNetwork {
  ParameterStore store;
  Parameter &w1, &w2, &gamma, &beta, &alpha, &head, &bias;
  StateTensor &mean, &var;

  explicit SmallNetwork(Context& context)
      : w1(store.add("w1", {3, 3, 3, 2}, ParameterGroup::weight, Initialisation::kaiming_normal(18))),
        w2(store.add("w2", {3, 3, 3, 3}, ParameterGroup::weight, Initialisation::kaiming_normal(27))),
        gamma(store.add("gamma", {3}, ParameterGroup::norm, Initialisation::constant(1.3))),
        beta(store.add("beta", {3}, ParameterGroup::norm, Initialisation::constant(0.2))),
        alpha(store.add("alpha", {1}, ParameterGroup::alpha, Initialisation::constant(0.4))),
        head(store.add("head", {4, 6}, ParameterGroup::weight, Initialisation::kaiming_normal(6))),
        bias(store.add("bias", {4}, ParameterGroup::bias, Initialisation::uniform(0.5))),
        mean(store.add_state("mean", {3}, 0.0)),
        var(store.add_state("var", {3}, 1.0)) {
    store.materialise(context, 7, DType::f64);
  }

  double loss(Context& context, const Tensor& pictures, const Tensor& labels,
              Tensor* input_gradient = nullptr) {
    Tape tape(context, Tape::Mode::training);
    const Variable x = tape.input(pictures);
    const Variable y = conv2d(tape, x, tape.parameter(w1), 1, 1);
    // w2 is used twice and y reaches the join by two ways: gradients must add up.
    const Variable inner =
        relu(tape, batch_norm(tape, conv2d(tape, y, tape.parameter(w2), 1, 1), tape.parameter(gamma),
                              tape.parameter(beta), mean.value, var.value));
    const Variable f = conv2d(tape, inner, tape.parameter(w2), 1, 1);
    const Variable joined = residual(tape, ResidualForm::post, f, y, tape.parameter(alpha));
    const Variable small = max_pool(tape, shortcut_a(tape, joined, 6), 3, 1, 1);
    const Variable logits =
        linear(tape, global_avg_pool(tape, small), tape.parameter(head), tape.parameter(bias));
    const Loss result = softmax_cross_entropy(tape, logits, labels, 0.1, {});
    const double one = 1.0;
    tape.backward(result.loss, Tensor::from_host<double>(context, {1}, std::span(&one, 1)));
    if (input_gradient != nullptr) *input_gradient = tape.gradient(x);
    return result.loss.value.to_host<double>(context).front();
  }
};

/// Central differences of `loss` in every element of `value`, against `gradient`.
void check_gradient(Context& context, const std::function<double()>& loss, const Tensor& value,
                    const std::vector<double>& gradient) {
  const std::vector<double> original = value.to_host<double>(context);
  constexpr double kStep = 1e-5;
  for (std::size_t i = 0; i < original.size(); ++i) {
    std::vector<double> moved = original;
    moved[i] = original[i] + kStep;
    value.copy_from(context, std::as_bytes(std::span(moved)));
    const double above = loss();
    moved[i] = original[i] - kStep;
    value.copy_from(context, std::as_bytes(std::span(moved)));
    const double below = loss();
    // Truncation is O(step^2), rounding O(eps / step): both near 1e-10 of the loss, which is about 1.
    CHECK(std::abs((above - below) / (2 * kStep) - gradient[i]) < 1e-7);
  }
  value.copy_from(context, std::as_bytes(std::span(original)));
}

}  // namespace

TEST_CASE("gradients of a network with shared parameters and joins match differences", "[tape]") {
  Context context({DeviceKind::cpu, 0});
  SmallNetwork network(context);
  const Tensor pictures = counted(context, {3, 4, 4, 2}, 1.0);
  const std::vector<std::int32_t> classes{2, 0, 3};
  const Tensor labels = Tensor::from_host<std::int32_t>(context, {3}, classes);

  Tensor dx;
  network.loss(context, pictures, labels, &dx);
  const auto loss = [&] { return network.loss(context, pictures, labels); };
  std::vector<std::vector<double>> gradients;
  for (Parameter& parameter : network.store.parameters())
    gradients.push_back(parameter.gradient.to_host<double>(context));
  std::size_t index = 0;
  for (Parameter& parameter : network.store.parameters()) {
    CAPTURE(parameter.name);
    check_gradient(context, loss, parameter.value, gradients[index++]);
  }
  check_gradient(context, loss, pictures, dx.to_host<double>(context));
}

TEST_CASE("a parameter that no gradient reaches ends with a zero gradient", "[tape]") {
  Context context({DeviceKind::cpu, 0});
  ParameterStore store;
  Parameter& used = store.add("used", {2, 3}, ParameterGroup::weight, Initialisation::constant(1.0));
  Parameter& bias = store.add("bias", {2}, ParameterGroup::bias, Initialisation::constant(0.0));
  Parameter& unused = store.add("unused", {2, 3}, ParameterGroup::weight, Initialisation::constant(1.0));
  store.materialise(context, 1, DType::f64);
  const std::vector<double> stale(6, 5.0);
  unused.gradient.copy_from(context, std::as_bytes(std::span(stale)));

  Tape tape(context, Tape::Mode::training);
  const Variable x = tape.constant(counted(context, {4, 3}, 1.0));
  linear(tape, x, tape.parameter(unused), tape.parameter(bias));
  const Variable y = linear(tape, x, tape.parameter(used), tape.parameter(bias));
  tape.backward(y, counted(context, {4, 2}, 1.0));
  CHECK(unused.gradient.to_host<double>(context) == std::vector<double>(6, 0.0));
  CHECK(used.gradient.to_host<double>(context) != std::vector<double>(6, 0.0));
}

TEST_CASE("an inference tape records nothing", "[tape]") {
  Context context({DeviceKind::cpu, 0});
  SmallNetwork network(context);
  Tape tape(context, Tape::Mode::inference);
  const Variable y = relu(tape, tape.input(counted(context, {2, 2, 2, 3}, 1.0)));
  CHECK(y.slot == -1);
  CHECK_THROWS_AS(tape.backward(y, counted(context, {2, 2, 2, 3}, 1.0)), Error);
}

TEST_CASE("activations are freed as backward proceeds", "[tape]") {
  Context context({DeviceKind::cpu, 0});
  const Tensor pictures = Tensor::zeros(context, {1, 64, 64, 4}, DType::f64);
  const std::size_t before = context.allocator().bytes_in_use();
  Tape tape(context, Tape::Mode::training);
  Variable y = tape.input(pictures);
  for (int layer = 0; layer < 8; ++layer) y = relu(tape, y);
  const std::size_t after_forward = context.allocator().bytes_in_use();
  CHECK(after_forward - before >= 8 * pictures.bytes());
  Tensor seed = Tensor::zeros(context, {1, 64, 64, 4}, DType::f64);
  tape.backward(y, std::move(seed));
  y = {};
  CHECK(context.allocator().bytes_in_use() - before ==
        pictures.bytes());  // the input's gradient, in place all along
}
