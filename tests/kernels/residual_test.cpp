#include "kernels/residual/residual.h"

#include "kernels/check/cases.h"
#include "tests/kernels/harness.h"

using namespace zeroth;
using namespace zeroth::testing;

TEST_CASE("every residual row agrees with the reference", "[kernels][residual]") {
  check_cases(residual_cases());
}

TEST_CASE("the gradient of residual is its derivative", "[kernels][residual]") {
  constexpr std::int64_t kElements = 24;
  const Shape shape{kElements};
  for (const ResidualForm form : {ResidualForm::plain, ResidualForm::post, ResidualForm::authors}) {
    INFO(name_of(form));
    Context context({DeviceKind::cpu, 0});
    const ResidualParams params{form, kElements, DType::f64};
    const auto forward = [&](const Values& inputs) {
      const Operand f(context, DType::f64, shape, inputs[0]), shortcut(context, DType::f64, shape, inputs[1]);
      const Operand alpha(context, DType::f64, {1}, inputs[2]);
      const Operand y = Operand::unset(context, DType::f64, shape);
      residual_forward(context, params, f, shortcut, alpha, y);
      return y.values();
    };
    const auto backward = [&](const Values& inputs, const std::vector<double>& dy_values) {
      const Operand dy(context, DType::f64, shape, dy_values), f(context, DType::f64, shape, inputs[0]);
      const Operand y(context, DType::f64, shape, forward(inputs)),
          alpha(context, DType::f64, {1}, inputs[2]);
      const Operand df = Operand::unset(context, DType::f64, shape);
      const Operand dshortcut = Operand::unset(context, DType::f64, shape);
      const Operand dalpha(context, DType::f64, {1}, {0.0});
      constexpr GradMode write = GradMode::overwrite;
      residual_backward(context, params, dy, f, y, alpha, df, write, dshortcut, write, dalpha, write, {});
      const bool plain = form == ResidualForm::plain;
      return Values{df.values(), dshortcut.values(), plain ? std::vector<double>{} : dalpha.values()};
    };
    // f is away from zero, and the shortcut so large that the sum is, too.
    Values inputs = {random_values(kElements, DType::f64, -1.0, 1.0, 1),
                     random_values(kElements, DType::f64, -1.0, 1.0, 2),
                     {0.75}};
    for (double& value : inputs[0]) value += value < 0.0 ? -0.1 : 0.1;
    for (double& value : inputs[1]) value += value < 0.0 ? -1.2 : 1.2;
    check_gradient({inputs, forward, backward});
  }
}

TEST_CASE("a residual block with alpha 0 passes its shortcut on", "[kernels][residual]") {
  for_each_row(residual_rows(), [](Context& context, const ResidualRow& row) {
    const ResidualParams params{ResidualForm::post, 19, DType::f32};
    if (!row.supports(params)) return;
    context.choose_implementation(std::string("residual=") + row.name);
    const std::vector<double> values = random_values(19, DType::f32, 0.0, 1.0, 1);
    const Operand f(context, DType::f32, {19}, random_values(19, DType::f32, -1e30, 1e30, 2));
    const Operand shortcut(context, DType::f32, {19}, values), alpha(context, DType::f32, {1}, {0.0});
    const Operand y = Operand::unset(context, DType::f32, {19});
    residual_forward(context, params, f, shortcut, alpha, y);
    CHECK(y.values() == values);
  });
}

TEST_CASE("residual refuses operands that do not match", "[kernels][residual]") {
  Context context({DeviceKind::cpu, 0});
  const Operand x = Operand::unset(context, DType::f32, {6}),
                other = Operand::unset(context, DType::f32, {5});
  const ResidualParams post{ResidualForm::post, 6}, plain{ResidualForm::plain, 6};
  check_usage_error([&] { residual_forward(context, plain, x, other, {}, x); },
                    "residual: shortcut has shape (5), expected 6 elements");
  check_usage_error([&] { residual_forward(context, post, x, x, {}, x); }, "residual: alpha is missing");
  check_usage_error(
      [&] {
        residual_backward(context, post, x, {}, x, x, x, GradMode::overwrite, x, GradMode::skip, {},
                          GradMode::skip, {});
      },
      "residual backward: f is missing");
  check_usage_error(
      [&] {
        residual_backward(context, plain, x, {}, x, {}, other, GradMode::overwrite, x, GradMode::skip, {},
                          GradMode::skip, {});
      },
      "residual backward: df has shape (5), expected 6 elements");
}
