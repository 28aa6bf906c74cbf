#include "kernels/max_pool/max_pool.h"

#include "kernels/check/cases.h"
#include "tests/kernels/harness.h"

using namespace zeroth;
using namespace zeroth::testing;

TEST_CASE("every max_pool row agrees with the reference", "[kernels][max_pool]") {
  check_cases(max_pool_cases());
}

TEST_CASE("max_pool finds the first maximum, outside never wins", "[kernels][max_pool]") {
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  Context context({DeviceKind::cpu, 0});
  const auto winner_of = [&](const std::vector<double>& picture) {
    const MaxPoolParams params{1, 2, 2, 1, 3, 2, 1, DType::f64};
    const Operand x(context, DType::f64, params.x_shape(), picture);
    const Operand y = Operand::unset(context, DType::f64, params.y_shape());
    const Operand winner = Operand::unset(context, DType::u8, params.y_shape());
    max_pool_forward(context, params, x, y, winner);
    return std::pair{y.values()[0], winner.values()[0]};
  };
  // The picture's pixels have positions 4, 5, 7 and 8 in the only window.
  CHECK(winner_of({-4, -2, -2, -3}) == std::pair{-2.0, 5.0});
  CHECK(winner_of({-1, -2, -3, 5}) == std::pair{5.0, 8.0});
  CHECK(winner_of({9, kNaN, kNaN, 10}).second == 5.0);
  CHECK(winner_of({-kNaN, -2, -2, -2}).second == 4.0);
  const double low = -std::numeric_limits<double>::infinity();
  CHECK(winner_of({low, low, low, low}) == std::pair{low, 4.0});
}

TEST_CASE("the gradient of max_pool is its derivative", "[kernels][max_pool]") {
  Context context({DeviceKind::cpu, 0});
  for (const MaxPoolParams params :
       {MaxPoolParams{2, 5, 6, 3, 3, 2, 1, DType::f64}, MaxPoolParams{1, 7, 4, 2, 2, 1, 0, DType::f64}}) {
    struct Forward {
      std::vector<double> y, winner;
    };
    const auto forward = [&](const std::vector<double>& values) {
      const Operand x(context, DType::f64, params.x_shape(), values);
      const Operand y = Operand::unset(context, DType::f64, params.y_shape());
      const Operand winner = Operand::unset(context, DType::u8, params.y_shape());
      max_pool_forward(context, params, x, y, winner);
      return Forward{y.values(), winner.values()};
    };
    const auto backward = [&](const Values& inputs, const std::vector<double>& dy_values) {
      const Operand dy(context, DType::f64, params.y_shape(), dy_values);
      const Operand winner(context, DType::u8, params.y_shape(), forward(inputs[0]).winner);
      const Operand dx = Operand::unset(context, DType::f64, params.x_shape());
      max_pool_backward(context, params, dy, winner, dx, GradMode::overwrite);
      return Values{dx.values()};
    };
    // All values a step or more apart, so that no small move changes a winner.
    const std::int64_t elements = params.x_shape().elements();
    std::vector<double> x(static_cast<std::size_t>(elements));
    for (std::int64_t i = 0; i < elements; ++i)
      x[static_cast<std::size_t>(i)] = static_cast<double>(i * 101 % 367) * 0.01;
    check_gradient({{x}, [&](const Values& inputs) { return forward(inputs[0]).y; }, backward});
  }
}

TEST_CASE("max_pool refuses windows without pixels and other shapes", "[kernels][max_pool]") {
  Context context({DeviceKind::cpu, 0});
  const Operand x = Operand::unset(context, DType::f32, {1, 4, 4, 4});
  const Operand y = Operand::unset(context, DType::f32, {1, 2, 2, 4});
  const Operand winner = Operand::unset(context, DType::u8, {1, 2, 2, 4});
  const auto refused = [&](const MaxPoolParams& params, const std::string& message) {
    check_usage_error([&] { max_pool_forward(context, params, x, y, winner); }, message);
  };
  const std::string limits =
      "max_pool: sizes must be positive, the window at most 15 and at least twice the padding: ";
  for (const MaxPoolParams& params : {MaxPoolParams{1, 4, 4, 4, 3, 2, 2}, MaxPoolParams{1, 4, 4, 4, 16, 2, 1},
                                      MaxPoolParams{1, 4, 4, 4, 3, 0, 1}, MaxPoolParams{1, 0, 4, 4, 3, 2, 1}})
    refused(params, limits + params.to_string());
  const MaxPoolParams large{1, 4, 4, 4, 7, 2, 1};
  refused(large, "max_pool: the window is larger than the padded picture: " + large.to_string());
  check_usage_error(
      [&] {
        max_pool_forward(context, {1, 4, 4, 4, 2, 2, 0}, x, x, winner);
      },
      "max_pool: y has shape (1, 4, 4, 4), expected (1, 2, 2, 4)");
  check_usage_error(
      [&] {
        max_pool_forward(context, {1, 4, 4, 4, 2, 2, 0}, x, y, y);
      },
      "max_pool: winner has dtype f32, expected u8");
}
