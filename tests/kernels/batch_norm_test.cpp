#include "kernels/batch_norm/batch_norm.h"

#include "kernels/check/cases.h"
#include "tests/kernels/harness.h"

using namespace zeroth;
using namespace zeroth::testing;

TEST_CASE("every batch_norm row agrees with the reference", "[kernels][batch_norm]") {
  check_cases(batch_norm_cases());
}

namespace {

/// Operands of small calls in f64.
struct Calls {
  static constexpr std::int64_t kRows = 6, kChannels = 3;
  Context context{{DeviceKind::cpu, 0}};
  BatchNormParams params{.rows = kRows, .channels = kChannels, .dtype = DType::f64};

  Operand rows(const std::vector<double>& values) {
    return Operand(context, DType::f64, {kRows, kChannels}, values);
  }
  Operand channels(const std::vector<double>& values) {
    return Operand(context, DType::f64, {kChannels}, values);
  }

  struct Forward {
    std::vector<double> y, mean, inverse_std;
  };
  /// inputs: x, gamma, beta.
  Forward forward(const Values& inputs) {
    const Operand running_mean = channels({0, 0, 0}), running_var = channels({1, 1, 1});
    const Operand x = rows(inputs[0]), gamma = channels(inputs[1]), beta = channels(inputs[2]);
    const Operand y = Operand::unset(context, DType::f64, {kRows, kChannels});
    const Operand mean = Operand::unset(context, DType::f64, {kChannels});
    const Operand inverse_std = Operand::unset(context, DType::f64, {kChannels});
    batch_norm_forward_training(context, params, x, gamma, beta, running_mean, running_var, y, mean,
                                inverse_std, {});
    return {y.values(), mean.values(), inverse_std.values()};
  }
};

}  // namespace

TEST_CASE("the gradient of batch_norm is its derivative", "[kernels][batch_norm]") {
  Calls calls;
  const Values inputs = {random_values(18, DType::f64, -2.0, 3.0, 1),
                         random_values(3, DType::f64, -2.0, 2.0, 2),
                         random_values(3, DType::f64, -2.0, 2.0, 3)};
  const auto backward = [&](const Values& at, const std::vector<double>& dy_values) {
    const Calls::Forward saved = calls.forward(at);
    const Operand dy = calls.rows(dy_values), x = calls.rows(at[0]), gamma = calls.channels(at[1]);
    const Operand mean = calls.channels(saved.mean), inverse_std = calls.channels(saved.inverse_std);
    const Operand dx = Operand::unset(calls.context, DType::f64, {6, 3});
    const Operand dgamma = Operand::unset(calls.context, DType::f64, {3});
    const Operand dbeta = Operand::unset(calls.context, DType::f64, {3});
    batch_norm_backward(calls.context, calls.params, dy, x, gamma, mean, inverse_std, dx, GradMode::overwrite,
                        dgamma, dbeta, GradMode::overwrite, {});
    return Values{dx.values(), dgamma.values(), dbeta.values()};
  };
  check_gradient({inputs, [&](const Values& at) { return calls.forward(at).y; }, backward});
}

TEST_CASE("batch_norm centers, scales and keeps running moments", "[kernels][batch_norm]") {
  // Worked by hand: values 1, 2, 6 have mean 3, biased variance 14/3, unbiased variance 7.
  for_each_row(batch_norm_rows(), [](Context& context, const BatchNormRow& row) {
    const BatchNormParams params{.rows = 3, .channels = 1, .eps = 1.0 / 3.0, .momentum = 0.25};
    if (!row.supports(params)) return;
    context.choose_implementation(std::string("batch_norm=") + row.name);
    const Operand x(context, DType::f32, {3, 1}, {1, 2, 6}), gamma(context, DType::f32, {1}, {2});
    const Operand beta(context, DType::f32, {1}, {0.5});
    const Operand running_mean(context, DType::f32, {1}, {-1}), running_var(context, DType::f32, {1}, {3});
    const Operand y = Operand::unset(context, DType::f32, {3, 1});
    const Operand mean = Operand::unset(context, DType::f32, {1});
    const Operand inverse_std = Operand::unset(context, DType::f32, {1});
    batch_norm_forward_training(context, params, x, gamma, beta, running_mean, running_var, y, mean,
                                inverse_std, context.scratch(batch_norm_workspace(context, params)));
    const double spread = 1.0 / std::sqrt(5.0);
    const auto within = [](double size) { return [=](std::size_t) { return 0x1p-21 * size; }; };
    check_close(y.values(), {0.5 - 4 * spread, 0.5 - 2 * spread, 0.5 + 6 * spread}, within(4.0));
    check_close(mean.values(), {3.0}, within(3.0));
    check_close(inverse_std.values(), {spread}, within(spread));
    check_close(running_mean.values(), {0.75 * -1 + 0.25 * 3}, within(1.5));
    check_close(running_var.values(), {0.75 * 3 + 0.25 * 7}, within(4.0));
  });
}

TEST_CASE("batch_norm takes pictures as rows", "[kernels][batch_norm]") {
  Context context({DeviceKind::cpu, 0});
  const BatchNormParams params{.rows = 12, .channels = 3};
  const std::vector<double> values = random_values(36, DType::f32, -1.0, 1.0, 1);
  const Operand flat(context, DType::f32, {12, 3}, values),
      pictures(context, DType::f32, {1, 3, 4, 3}, values);
  const Operand c(context, DType::f32, {3}, {1, 2, 3});
  const Operand y_flat = Operand::unset(context, DType::f32, {12, 3});
  const Operand y_pictures = Operand::unset(context, DType::f32, {1, 3, 4, 3});
  const Workspace workspace = context.scratch(batch_norm_workspace(context, params));
  batch_norm_forward_inference(context, params, flat, c, c, c, c, y_flat, workspace);
  batch_norm_forward_inference(context, params, pictures, c, c, c, c, y_pictures, workspace);
  CHECK(y_flat.values() == y_pictures.values());
}

TEST_CASE("batch_norm refuses what it cannot normalise", "[kernels][batch_norm]") {
  Context context({DeviceKind::cpu, 0});
  const Operand x = Operand::unset(context, DType::f32, {6, 3});
  const Operand wide = Operand::unset(context, DType::f32, {6, 4});
  const Operand c = Operand::unset(context, DType::f32, {3});
  const auto training = [&](const BatchNormParams& params, TensorView y) {
    batch_norm_forward_training(context, params, x, c, c, c, c, y, c, c, {});
  };
  check_usage_error(
      [&] { training({.rows = 1, .channels = 3}, x); },
      "batch_norm: training needs at least two values a channel, this batch has 1: train with a "
      "larger batch");
  check_usage_error([&] { training({.rows = 6, .channels = 0}, x); },
                    "batch_norm: sizes must be positive: 6x0 f32");
  check_usage_error([&] { training({.rows = 6, .channels = 3, .eps = 0.0}, x); },
                    "batch_norm: eps 0 must be positive and momentum 0.1 lie in [0, 1]");
  check_usage_error([&] { training({.rows = 6, .channels = 3, .momentum = 1.5}, x); },
                    "batch_norm: eps 1e-05 must be positive and momentum 1.5 lie in [0, 1]");
  check_usage_error([&] { training({.rows = 6, .channels = 3}, wide); },
                    "batch_norm: y has shape (6, 4), expected 3 channels last");
  check_usage_error([&] { training({.rows = 5, .channels = 3}, x); },
                    "batch_norm: x has shape (6, 3), expected (5, 3)");
  check_usage_error(
      [&] {
        batch_norm_backward(context, {.rows = 6, .channels = 3}, x, x, c, c, c, {}, GradMode::skip, {}, c,
                            GradMode::overwrite, {});
      },
      "batch_norm backward: dgamma is missing");
}
