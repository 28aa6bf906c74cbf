#include "kernels/relu/relu.h"

#include "kernels/check/cases.h"
#include "tests/kernels/harness.h"

using namespace zeroth;
using namespace zeroth::testing;

TEST_CASE("every relu row agrees with the reference", "[kernels][relu]") {
  check_cases(relu_cases());
}

TEST_CASE("the gradient of relu is its derivative", "[kernels][relu]") {
  constexpr std::int64_t kElements = 40;
  Context context({DeviceKind::cpu, 0});
  const auto forward = [&](const Values& inputs) {
    const Operand x(context, DType::f64, {kElements}, inputs[0]);
    const Operand y = Operand::unset(context, DType::f64, {kElements});
    relu_forward(context, x, y);
    return y.values();
  };
  // Away from the kink at zero.
  std::vector<double> x = random_values(kElements, DType::f64, -1.0, 1.0, 1);
  for (double& value : x) value += value < 0.0 ? -0.1 : 0.1;
  check_gradient({{x}, forward, [&](const Values& inputs, const std::vector<double>& dy_values) {
                    const Operand dy(context, DType::f64, {kElements}, dy_values);
                    const Operand y(context, DType::f64, {kElements}, forward(inputs));
                    const Operand dx = Operand::unset(context, DType::f64, {kElements});
                    relu_backward(context, dy, y, dx, GradMode::overwrite);
                    return Values{dx.values()};
                  }});
}

TEST_CASE("relu refuses operands that do not match", "[kernels][relu]") {
  Context context({DeviceKind::cpu, 0});
  const Operand x = Operand::unset(context, DType::f32, {2, 3});
  const Operand other_shape = Operand::unset(context, DType::f32, {3, 2});
  const Operand other_dtype = Operand::unset(context, DType::bf16, {2, 3});
  check_usage_error([&] { relu_forward(context, x, other_shape); },
                    "relu: y has shape (3, 2), expected (2, 3)");
  check_usage_error([&] { relu_forward(context, x, other_dtype); }, "relu: y has dtype bf16, expected f32");
  check_usage_error([&] { relu_backward(context, other_shape, x, x, GradMode::overwrite); },
                    "relu backward: dy has shape (3, 2), expected (2, 3)");
  check_usage_error(
      [&] {
        relu_backward(context, x, x, TensorView({}, {2, 3}, DType::f32), GradMode::overwrite);
      },
      "relu backward: dx is missing");
  TensorView shifted({}, {2, 2}, DType::f32);
  shifted.data = static_cast<float*>(x.view().data) + 1;
  check_usage_error(
      [&] {
        relu_forward(context, ConstTensorView(x.view().data, {2, 2}, DType::f32), shifted);
      },
      "relu: y does not start on a 16-byte boundary");
}
