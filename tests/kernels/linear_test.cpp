#include "kernels/linear/linear.h"

#include "kernels/check/cases.h"
#include "kernels/linear/native.h"
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

TEST_CASE("a bias is added in f32 and the sum rounded once", "[kernels][linear]") {
  Context context({DeviceKind::simt, 0});
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16})
    for (const auto& [n, k] : {std::pair<std::int64_t, std::int64_t>{1, 1}, {3, 10}, {70, 67}, {0, 4}}) {
      INFO(name_of(dtype) << ", " << n << " x " << k);
      const std::vector<double> product = random_values(n * k, DType::f32, -1.0, 1.0, 1),
                                bias = random_values(k, DType::f32, -1.0, 1.0, 2);
      std::vector<double> expected(product.size());
      for (std::size_t i = 0; i < expected.size(); ++i)
        expected[i] = rounded(dtype, static_cast<float>(product[i]) +
                                         static_cast<float>(bias[i % static_cast<std::size_t>(k)]));
      const Operand products(context, DType::f32, {n, k}, product), biases(context, DType::f32, {k}, bias),
          y = Operand::unset(context, dtype, {n, k});
      simt_native::linear_add_bias(context, {n, 1, k, dtype}, products.view().as<float>(), biases, y);
      CHECK(y.values() == expected);
      CHECK(y.intact());
    }
}

TEST_CASE("large linear layers are cut into parts on the CPU, with the same bits for any threads",
          "[kernels][linear]") {
  const DeviceKind cpu[] = {DeviceKind::cpu};
  for (const LinearParams& params : {LinearParams{131, 256, 300}, LinearParams{70, 512, 301}})
    for (const KernelCase& call : cases_of(params)) check_case(call, cpu);
}
