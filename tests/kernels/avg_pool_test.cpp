#include "kernels/avg_pool/avg_pool.h"

#include "kernels/check/cases.h"
#include "tests/kernels/harness.h"

using namespace zeroth;
using namespace zeroth::testing;

TEST_CASE("every avg_pool row agrees with the reference", "[kernels][avg_pool]") {
  check_cases(avg_pool_cases());
}

TEST_CASE("avg_pool takes the mean of each channel", "[kernels][avg_pool]") {
  Context context({DeviceKind::cpu, 0});
  const Operand x(context, DType::f64, {1, 2, 2, 2}, {1, 10, 2, 20, 3, 30, 6, 60});
  const Operand y = Operand::unset(context, DType::f64, {1, 2});
  avg_pool_forward(context, {1, 2, 2, 2, DType::f64}, x, y);
  CHECK(y.values() == std::vector<double>{3, 30});
}

TEST_CASE("the backward of avg_pool is its adjoint and its gradient", "[kernels][avg_pool]") {
  Context context({DeviceKind::cpu, 0});
  const AvgPoolParams params{2, 3, 4, 5, DType::f64};
  const auto forward = [&](const std::vector<double>& values) {
    const Operand x(context, DType::f64, {2, 3, 4, 5}, values);
    const Operand y = Operand::unset(context, DType::f64, {2, 5});
    avg_pool_forward(context, params, x, y);
    return y.values();
  };
  const auto backward = [&](const std::vector<double>& values) {
    const Operand dy(context, DType::f64, {2, 5}, values);
    const Operand dx = Operand::unset(context, DType::f64, {2, 3, 4, 5});
    avg_pool_backward(context, params, dy, dx, GradMode::overwrite);
    return dx.values();
  };
  check_adjoint(120, 10, forward, backward, 13.0);
  check_gradient({{random_values(120, DType::f64, -1.0, 1.0, 1)},
                  [&](const Values& inputs) { return forward(inputs[0]); },
                  [&](const Values&, const std::vector<double>& dy) { return Values{backward(dy)}; }});
}

TEST_CASE("avg_pool refuses empty pictures and other shapes", "[kernels][avg_pool]") {
  Context context({DeviceKind::cpu, 0});
  const Operand x = Operand::unset(context, DType::f32, {1, 4, 4, 4});
  check_usage_error(
      [&] {
        avg_pool_forward(context, {1, 0, 4, 4}, x, x);
      },
      "avg_pool: sizes must be positive: 1x0x4x4 f32");
  check_usage_error(
      [&] {
        avg_pool_forward(context, {1, 4, 4, 4}, x, x);
      },
      "avg_pool: y has shape (1, 4, 4, 4), expected (1, 4)");
  check_usage_error(
      [&] {
        avg_pool_backward(context, {1, 4, 4, 4}, x, x, GradMode::overwrite);
      },
      "avg_pool backward: dy has shape (1, 4, 4, 4), expected (1, 4)");
}
