#include "kernels/gelu/gelu.h"

#include "kernels/check/cases.h"
#include "tests/kernels/harness.h"

using namespace zeroth;
using namespace zeroth::testing;

TEST_CASE("every gelu row agrees with the reference", "[kernels][gelu]") {
  check_cases(gelu_cases());
}

// torch.nn.functional.gelu (PyTorch 1.13, float64) and its gradient.
TEST_CASE("gelu agrees with PyTorch", "[kernels][gelu]") {
  const std::vector<double> x = {-3.0, -1.0, -0.5, 0.0, 0.25, 1.0, 2.5};
  const std::vector<double> y = {-0.00404969409489031, -0.15865525393145702, -0.15426876936299344, 0.0,
                                 0.14967658142073093,  0.841344746068543,    2.4844758366855597};
  const std::vector<double> slope = {-0.01194564720418392, -0.08331547058768635, 0.13250487534383712, 0.5,
                                     0.695373354883636,    1.0833154705876864,   1.037611085908145};
  Context context({DeviceKind::cpu, 0});
  const auto count = static_cast<std::int64_t>(x.size());
  const Operand input(context, DType::f64, {count}, x);
  const Operand output = Operand::unset(context, DType::f64, {count}),
                gradient = Operand::unset(context, DType::f64, {count});
  const Operand ones(context, DType::f64, {count}, std::vector<double>(x.size(), 1.0));
  gelu_forward(context, input, output);
  gelu_backward(context, ones, input, gradient, GradMode::overwrite);
  check_close(output.values(), y, [](std::size_t) { return 1e-15; });
  check_close(gradient.values(), slope, [](std::size_t) { return 1e-15; });
}

TEST_CASE("the gradient of gelu is its derivative", "[kernels][gelu]") {
  constexpr std::int64_t kElements = 40;
  Context context({DeviceKind::cpu, 0});
  const auto forward = [&](const Values& inputs) {
    const Operand x(context, DType::f64, {kElements}, inputs[0]);
    const Operand y = Operand::unset(context, DType::f64, {kElements});
    gelu_forward(context, x, y);
    return y.values();
  };
  const std::vector<double> x = random_values(kElements, DType::f64, -3.0, 3.0, 1);
  check_gradient({{x}, forward, [&](const Values& inputs, const std::vector<double>& dy_values) {
                    const Operand dy(context, DType::f64, {kElements}, dy_values);
                    const Operand at(context, DType::f64, {kElements}, inputs[0]);
                    const Operand dx = Operand::unset(context, DType::f64, {kElements});
                    gelu_backward(context, dy, at, dx, GradMode::overwrite);
                    return Values{dx.values()};
                  }});
}

TEST_CASE("gelu refuses operands that do not match", "[kernels][gelu]") {
  Context context({DeviceKind::cpu, 0});
  const Operand x = Operand::unset(context, DType::f32, {2, 3});
  const Operand other_shape = Operand::unset(context, DType::f32, {3, 2});
  check_usage_error([&] { gelu_forward(context, x, other_shape); },
                    "gelu: y has shape (3, 2), expected (2, 3)");
  check_usage_error([&] { gelu_backward(context, other_shape, x, x, GradMode::overwrite); },
                    "gelu backward: dy has shape (3, 2), expected (2, 3)");
}
