#include "kernels/batch_norm_act/batch_norm_act.h"

#include "kernels/check/cases.h"
#include "tests/kernels/harness.h"

using namespace zeroth;
using namespace zeroth::testing;

TEST_CASE("every batch_norm_act row agrees with the reference", "[kernels][batch_norm_act]") {
  check_cases(batch_norm_act_cases());
}

namespace {

/// Operands of small calls in f64, the inputs being x, gamma, beta, shortcut and alpha.
class Calls {
 public:
  static constexpr std::int64_t kRows = 6, kChannels = 3;

  explicit Calls(Epilogue epilogue)
      : params_{{.rows = kRows, .channels = kChannels, .dtype = DType::f64}, epilogue} {
    context_.choose_implementation("batch_norm_act=reference");
  }

  struct Forward {
    std::vector<double> y, mean, inverse_std;
  };
  Forward forward(const Values& inputs) {
    const auto x = rows(inputs[0]), shortcut = rows(inputs[3]);
    const auto gamma = channels(inputs[1]), beta = channels(inputs[2]);
    const auto running_mean = channels({0, 0, 0}), running_var = channels({1, 1, 1}),
               alpha = scalar(inputs[4]);
    const auto y = rows({}), mean = channels({}), inverse_std = channels({});
    batch_norm_act_forward_training(
        context_, params_,
        {*x, *gamma, *beta, *shortcut, *alpha, *running_mean, *running_var, *y, *mean, *inverse_std},
        workspace());
    return {y->values(), mean->values(), inverse_std->values()};
  }
  Values backward(const Values& inputs, const std::vector<double>& dy_values) {
    const Forward saved = forward(inputs);
    const auto dy = rows(dy_values), x = rows(inputs[0]), y = rows(saved.y);
    const auto gamma = channels(inputs[1]), beta = channels(inputs[2]), mean = channels(saved.mean),
               inverse_std = channels(saved.inverse_std), alpha = scalar(inputs[4]);
    const auto dx = rows({}), dshortcut = rows({}), dgamma = channels({}), dbeta = channels({}),
               dalpha = scalar({});
    batch_norm_act_backward(context_, params_,
                            {.dy = *dy,
                             .x = *x,
                             .y = *y,
                             .gamma = *gamma,
                             .beta = *beta,
                             .mean = *mean,
                             .inverse_std = *inverse_std,
                             .alpha = *alpha,
                             .dx = *dx,
                             .dshortcut = *dshortcut,
                             .dgamma = *dgamma,
                             .dbeta = *dbeta,
                             .dalpha = *dalpha},
                            workspace());
    const bool joins = has_shortcut(params_.epilogue), scaled = has_alpha(params_.epilogue);
    return {dx->values(), dgamma->values(), dbeta->values(),
            joins ? dshortcut->values() : std::vector<double>(),
            scaled ? dalpha->values() : std::vector<double>()};
  }

 private:
  using Owned = std::unique_ptr<Operand>;
  /// Unset where there are no values.
  Owned operand(const Shape& shape, const std::vector<double>& values) {
    const std::vector<double> unset(static_cast<std::size_t>(shape.elements()), std::nan(""));
    return std::make_unique<Operand>(context_, DType::f64, shape, values.empty() ? unset : values);
  }
  Owned rows(const std::vector<double>& values) { return operand({kRows, kChannels}, values); }
  Owned channels(const std::vector<double>& values) { return operand({kChannels}, values); }
  Owned scalar(const std::vector<double>& values) { return operand({1}, values); }
  Workspace workspace() { return context_.scratch(batch_norm_act_workspace(context_, params_)); }

  Context context_{{DeviceKind::cpu, 0}};
  BatchNormActParams params_;
};

}  // namespace

TEST_CASE("the gradient of batch_norm_act is its derivative", "[kernels][batch_norm_act]") {
  for (const Epilogue epilogue : {Epilogue::relu, Epilogue::plain, Epilogue::post, Epilogue::authors}) {
    INFO(name_of(epilogue));
    Calls calls(epilogue);
    const Values inputs = {random_values(18, DType::f64, -2.0, 3.0, 1),
                           random_values(3, DType::f64, 0.5, 2.0, 2),
                           random_values(3, DType::f64, -2.0, 2.0, 3),
                           random_values(18, DType::f64, -1.0, 1.0, 4),
                           {-0.7}};
    check_gradient({inputs, [&](const Values& at) { return calls.forward(at).y; },
                    [&](const Values& at, const std::vector<double>& dy) { return calls.backward(at, dy); }});
  }
}

TEST_CASE("batch_norm_act with alpha 0 passes its shortcut on", "[kernels][batch_norm_act]") {
  for_each_row(batch_norm_act_rows(), [](Context& context, const BatchNormActRow& row) {
    for (const Epilogue epilogue : {Epilogue::post, Epilogue::authors}) {
      const BatchNormActParams params{{.rows = 9, .channels = 8}, epilogue};
      context.choose_implementation(std::string("batch_norm_act=") + row.name);
      const std::vector<double> values = random_values(72, DType::f32, 0.5, 1.0, 1);
      const Operand x(context, DType::f32, {9, 8}, random_values(72, DType::f32, -1.0, 1.0, 2)),
          shortcut(context, DType::f32, {9, 8}, values),
          c(context, DType::f32, {8}, std::vector<double>(8, 0.5)), alpha(context, DType::f32, {1}, {0.0});
      const Operand rm(context, DType::f32, {8}, std::vector<double>(8, 0.0)),
          rv(context, DType::f32, {8}, std::vector<double>(8, 1.0));
      const Operand y = Operand::unset(context, DType::f32, {9, 8}),
                    mean = Operand::unset(context, DType::f32, {8}),
                    inverse_std = Operand::unset(context, DType::f32, {8});
      batch_norm_act_forward_training(context, params,
                                      {x, c, c, shortcut, alpha, rm, rv, y, mean, inverse_std},
                                      context.scratch(batch_norm_act_workspace(context, params)));
      CHECK(y.values() == values);
    }
  });
}

TEST_CASE("batch_norm_act refuses operands that do not match", "[kernels][batch_norm_act]") {
  Context context({DeviceKind::cpu, 0});
  const Operand x = Operand::unset(context, DType::f32, {6, 3}), c = Operand::unset(context, DType::f32, {3}),
                one = Operand::unset(context, DType::f32, {1});
  const auto training = [&](std::int64_t rows, Epilogue epilogue, TensorView shortcut, TensorView alpha) {
    const BatchNormActParams params{{.rows = rows, .channels = 3}, epilogue};
    batch_norm_act_forward_training(context, params, {x, c, c, shortcut, alpha, c, c, x, c, c},
                                    context.scratch(batch_norm_act_workspace(context, params)));
  };
  check_usage_error(
      [&] { training(1, Epilogue::relu, {}, {}); },
      "batch_norm_act: training needs at least two values a channel, this batch has 1: train with a "
      "larger batch");
  check_usage_error([&] { training(6, Epilogue::plain, {}, {}); }, "batch_norm_act: shortcut is missing");
  check_usage_error([&] { training(6, Epilogue::post, x, {}); }, "batch_norm_act: alpha is missing");
  check_usage_error([&] { training(6, Epilogue::post, x, c); },
                    "batch_norm_act: alpha has shape (3), expected (1)");
  const BatchNormActParams params{{.rows = 6, .channels = 3}, Epilogue::post};
  const Workspace workspace = context.scratch(batch_norm_act_workspace(context, params));
  BatchNormActGradients o{.dy = x,
                          .x = x,
                          .gamma = c,
                          .beta = c,
                          .mean = c,
                          .inverse_std = c,
                          .alpha = one,
                          .dx = x,
                          .dshortcut = x,
                          .dgamma = c,
                          .dbeta = c,
                          .dalpha = one};
  check_usage_error([&] { batch_norm_act_backward(context, params, o, workspace); },
                    "batch_norm_act backward: y is missing");
  o.y = x;
  o.dshortcut = c;
  check_usage_error([&] { batch_norm_act_backward(context, params, o, workspace); },
                    "batch_norm_act backward: dshortcut has shape (3), expected (6, 3)");
  o.dshortcut = x;
  const std::size_t bytes = batch_norm_act_workspace(context, params);
  check_usage_error(
      [&] { batch_norm_act_backward(context, params, o, {}); },
      "batch_norm_act backward: the workspace has 0 bytes, " + std::to_string(bytes) + " are needed");
}
