#include "kernels/shortcut_a/shortcut_a.h"

#include "kernels/check/cases.h"
#include "tests/kernels/harness.h"

using namespace zeroth;
using namespace zeroth::testing;

TEST_CASE("every shortcut_a row agrees with the reference", "[kernels][shortcut_a]") {
  check_cases(shortcut_a_cases());
}

TEST_CASE("shortcut_a takes every second pixel and pads channels on either side", "[kernels][shortcut_a]") {
  Context context({DeviceKind::cpu, 0});
  const ShortcutAParams params{1, 3, 2, 1, 4, DType::f64};
  const Operand x(context, DType::f64, params.x_shape(), {1, 2, 3, 4, 5, 6});
  const Operand y = Operand::unset(context, DType::f64, params.y_shape());
  shortcut_a_forward(context, params, x, y);
  CHECK(y.values() == std::vector<double>{0, 1, 0, 0, 0, 5, 0, 0});
}

TEST_CASE("the backward of shortcut_a is its adjoint and its gradient", "[kernels][shortcut_a]") {
  Context context({DeviceKind::cpu, 0});
  for (const ShortcutAParams params :
       {ShortcutAParams{2, 5, 4, 3, 8, DType::f64}, ShortcutAParams{1, 2, 3, 4, 8, DType::f64}}) {
    const auto forward = [&](const std::vector<double>& values) {
      const Operand x(context, DType::f64, params.x_shape(), values);
      const Operand y = Operand::unset(context, DType::f64, params.y_shape());
      shortcut_a_forward(context, params, x, y);
      return y.values();
    };
    const auto backward = [&](const std::vector<double>& values) {
      const Operand dy(context, DType::f64, params.y_shape(), values);
      const Operand dx = Operand::unset(context, DType::f64, params.x_shape());
      shortcut_a_backward(context, params, dy, dx, GradMode::overwrite);
      return dx.values();
    };
    const std::int64_t elements = params.x_shape().elements();
    check_adjoint(elements, params.y_shape().elements(), forward, backward, 0.0);
    check_gradient({{random_values(elements, DType::f64, -1.0, 1.0, 1)},
                    [&](const Values& inputs) { return forward(inputs[0]); },
                    [&](const Values&, const std::vector<double>& dy) { return Values{backward(dy)}; }});
  }
}

TEST_CASE("shortcut_a refuses fewer channels and other shapes", "[kernels][shortcut_a]") {
  Context context({DeviceKind::cpu, 0});
  const Operand x = Operand::unset(context, DType::f32, {1, 4, 4, 4});
  check_usage_error(
      [&] {
        shortcut_a_forward(context, {1, 4, 4, 4, 2}, x, x);
      },
      "shortcut_a: sizes must be positive and channels not fewer than before: " +
          ShortcutAParams{1, 4, 4, 4, 2}.to_string());
  check_usage_error(
      [&] {
        shortcut_a_forward(context, {1, 4, 4, 4, 8}, x, x);
      },
      "shortcut_a: y has shape (1, 4, 4, 4), expected (1, 2, 2, 8)");
  check_usage_error(
      [&] {
        shortcut_a_backward(context, {1, 4, 4, 4, 8}, x, x, GradMode::overwrite);
      },
      "shortcut_a backward: dy has shape (1, 4, 4, 4), expected (1, 2, 2, 8)");
}
