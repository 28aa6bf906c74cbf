#include "kernels/linear/linear.h"

#include "tests/kernels/cases.h"
#include "tests/kernels/harness.h"

using namespace zeroth;
using namespace zeroth::testing;

TEST_CASE("every linear row agrees with the reference", "[kernels][linear]") {
  check_cases(linear_cases());
}

namespace {

constexpr LinearParams kParams{3, 5, 4, DType::f64};

/// The reference in f64 on lists of numbers.
class Layer {
 public:
  std::vector<double> forward(const std::vector<double>& x, const std::vector<double>& w,
                              const std::vector<double>& bias) {
    const Operand y = Operand::unset(context_, DType::f64, {kParams.n, kParams.k});
    linear_forward(context_, kParams, Operand(context_, DType::f64, {kParams.n, kParams.c}, x),
                   Operand(context_, DType::f64, {kParams.k, kParams.c}, w),
                   Operand(context_, DType::f64, {kParams.k}, bias), y, {});
    return y.values();
  }
  std::vector<double> backward_data(const std::vector<double>& dy, const std::vector<double>& w) {
    const Operand dx = Operand::unset(context_, DType::f64, {kParams.n, kParams.c});
    linear_backward_data(context_, kParams, Operand(context_, DType::f64, {kParams.n, kParams.k}, dy),
                         Operand(context_, DType::f64, {kParams.k, kParams.c}, w), dx, GradMode::overwrite,
                         {});
    return dx.values();
  }
  /// dw and dbias.
  std::pair<std::vector<double>, std::vector<double>> backward_weight(const std::vector<double>& x,
                                                                      const std::vector<double>& dy) {
    const Operand dw = Operand::unset(context_, DType::f64, {kParams.k, kParams.c});
    const Operand dbias = Operand::unset(context_, DType::f64, {kParams.k});
    linear_backward_weight(context_, kParams, Operand(context_, DType::f64, {kParams.n, kParams.c}, x),
                           Operand(context_, DType::f64, {kParams.n, kParams.k}, dy), dw, dbias,
                           GradMode::overwrite, {});
    return {dw.values(), dbias.values()};
  }

 private:
  Context context_{{DeviceKind::cpu, 0}};
};

std::vector<double> numbers(std::int64_t count, std::uint64_t seed) {
  return random_values(count, DType::f64, -1.0, 1.0, seed);
}

}  // namespace

TEST_CASE("the gradients of linear are its derivatives", "[kernels][linear]") {
  Layer layer;
  check_gradient(
      {{numbers(kParams.n * kParams.c, 1), numbers(kParams.k * kParams.c, 2), numbers(kParams.k, 3)},
       [&](const Values& in) { return layer.forward(in[0], in[1], in[2]); },
       [&](const Values& in, const std::vector<double>& dy) {
         const auto [dw, dbias] = layer.backward_weight(in[0], dy);
         return Values{layer.backward_data(dy, in[1]), dw, dbias};
       }});
}

TEST_CASE("linear and its backward passes are adjoint", "[kernels][linear]") {
  Layer layer;
  const std::vector<double> no_bias(kParams.k, 0.0);
  const std::int64_t xs = kParams.n * kParams.c, ws = kParams.k * kParams.c, ys = kParams.n * kParams.k;
  const std::vector<double> x = numbers(xs, 4), w = numbers(ws, 5);
  check_adjoint(
      xs, ys, [&](const auto& v) { return layer.forward(v, w, no_bias); },
      [&](const auto& dy) { return layer.backward_data(dy, w); }, 16.0);
  check_adjoint(
      ws, ys, [&](const auto& v) { return layer.forward(x, v, no_bias); },
      [&](const auto& dy) { return layer.backward_weight(x, dy).first; }, 16.0);
}

TEST_CASE("linear refuses arguments that do not match", "[kernels][linear]") {
  Context context({DeviceKind::cpu, 0});
  const LinearParams params{2, 4, 3, DType::f32};
  const Operand x = Operand::unset(context, DType::f32, {2, 4});
  const Operand w = Operand::unset(context, DType::f32, {3, 4});
  const Operand bias = Operand::unset(context, DType::f32, {3});
  const Operand y = Operand::unset(context, DType::f32, {2, 3});
  check_usage_error([&] { linear_forward(context, params, x, x, bias, y, {}); },
                    "linear: w has shape (2, 4), expected (3, 4)");
  check_usage_error([&] { linear_forward(context, params, x, w, y, y, {}); },
                    "linear: bias has shape (2, 3), expected (3)");
  check_usage_error([&] { linear_backward_data(context, params, x, w, x, GradMode::overwrite, {}); },
                    "linear backward data: dy has shape (2, 4), expected (2, 3)");
  check_usage_error(
      [&] {
        linear_backward_weight(context, params, x, y, w, TensorView({}, {3}, DType::f32), GradMode::overwrite,
                               {});
      },
      "linear backward weight: dbias is missing");
  check_usage_error(
      [&] {
        linear_workspace(context, {2, 0, 3, DType::f32});
      },
      "linear: sizes must be positive: 2x0 * 3 f32");
}
