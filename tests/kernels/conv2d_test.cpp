#include "kernels/conv2d/conv2d.h"

#include "kernels/conv2d/onednn.h"
#include "kernels/check/cases.h"
#include "tests/kernels/harness.h"

using namespace zeroth;
using namespace zeroth::testing;

TEST_CASE("every conv2d row agrees with the reference", "[kernels][conv2d]") {
  check_cases(conv2d_cases());
}

namespace {

std::vector<double> numbers(const Shape& shape, std::uint64_t seed) {
  return random_values(shape.elements(), DType::f64, -1.0, 1.0, seed);
}

/// The reference in f64 on lists of numbers.
class Convolution {
 public:
  explicit Convolution(const Conv2dParams& params) : params_(params) { params_.dtype = DType::f64; }

  std::vector<double> forward(const std::vector<double>& x, const std::vector<double>& w) {
    const Operand y = unset(params_.y_shape());
    conv2d_forward(context_, params_, operand(params_.x_shape(), x), operand(params_.w_shape(), w), y, {});
    return y.values();
  }
  std::vector<double> backward_data(const std::vector<double>& dy, const std::vector<double>& w) {
    const Operand dx = unset(params_.x_shape());
    conv2d_backward_data(context_, params_, operand(params_.y_shape(), dy), operand(params_.w_shape(), w), dx,
                         GradMode::overwrite, {});
    return dx.values();
  }
  std::vector<double> backward_weight(const std::vector<double>& x, const std::vector<double>& dy) {
    const Operand dw = unset(params_.w_shape());
    conv2d_backward_weight(context_, params_, operand(params_.x_shape(), x), operand(params_.y_shape(), dy),
                           dw, GradMode::overwrite, {});
    return dw.values();
  }

 private:
  Operand operand(const Shape& shape, const std::vector<double>& values) {
    return Operand(context_, DType::f64, shape, values);
  }
  Operand unset(const Shape& shape) { return Operand::unset(context_, DType::f64, shape); }

  Conv2dParams params_;
  Context context_{{DeviceKind::cpu, 0}};
};

constexpr Conv2dParams kProblems[] = {{2, 5, 4, 3, 2, 3, 3, 1, 1},
                                      {1, 6, 5, 2, 3, 3, 2, 2, 1},
                                      {2, 5, 5, 2, 2, 1, 1, 2, 0},
                                      {1, 7, 4, 1, 2, 2, 2, 3, 2}};

}  // namespace

TEST_CASE("conv2d slides the filter without turning it", "[kernels][conv2d]") {
  // One row of pixels, a window of three: y[q] = x[q - 1] + 10 x[q] + 100 x[q + 1].
  Convolution convolution({1, 1, 4, 1, 1, 1, 3, 1, 0});
  CHECK(convolution.forward({1, 2, 3, 4}, {1, 10, 100}) == std::vector<double>{321, 432});
  CHECK(convolution.backward_data({1, 2}, {1, 10, 100}) == std::vector<double>{1, 12, 120, 200});
  CHECK(convolution.backward_weight({1, 2, 3, 4}, {1, 10}) == std::vector<double>{21, 32, 43});
}

TEST_CASE("the gradients of conv2d are its derivatives", "[kernels][conv2d]") {
  for (const Conv2dParams& params : kProblems) {
    INFO(params.to_string());
    Convolution convolution(params);
    check_gradient(
        {{numbers(params.x_shape(), 1), numbers(params.w_shape(), 2)},
         [&](const Values& in) { return convolution.forward(in[0], in[1]); },
         [&](const Values& in, const std::vector<double>& dy) {
           return Values{convolution.backward_data(dy, in[1]), convolution.backward_weight(in[0], dy)};
         }});
  }
}

TEST_CASE("conv2d and its backward passes are adjoint", "[kernels][conv2d]") {
  for (const Conv2dParams& params : kProblems) {
    INFO(params.to_string());
    Convolution convolution(params);
    const std::int64_t xs = params.x_shape().elements(), ws = params.w_shape().elements();
    const std::int64_t ys = params.y_shape().elements();
    const std::vector<double> x = numbers(params.x_shape(), 3), w = numbers(params.w_shape(), 4);
    const double terms = static_cast<double>(xs + ws + ys);
    check_adjoint(
        xs, ys, [&](const auto& v) { return convolution.forward(v, w); },
        [&](const auto& dy) { return convolution.backward_data(dy, w); }, terms);
    check_adjoint(
        ws, ys, [&](const auto& v) { return convolution.forward(x, v); },
        [&](const auto& dy) { return convolution.backward_weight(x, dy); }, terms);
  }
}

TEST_CASE("oneDNN has fast code for every convolution of the networks", "[kernels][conv2d][onednn]") {
  // n, h, w, c, k, r, s, stride, padding
  const Conv2dParams problems[] = {{128, 32, 32, 3, 16, 3, 3, 1, 1},   // ResNet-20 to -110
                                   {128, 32, 32, 16, 16, 3, 3, 1, 1},  //
                                   {128, 32, 32, 16, 32, 3, 3, 2, 1},   {128, 16, 16, 32, 32, 3, 3, 1, 1},
                                   {128, 16, 16, 32, 64, 3, 3, 2, 1},   {128, 8, 8, 64, 64, 3, 3, 1, 1},
                                   {128, 32, 32, 16, 32, 1, 1, 2, 0},   {128, 16, 16, 32, 64, 1, 1, 2, 0},
                                   {128, 32, 32, 3, 64, 7, 7, 2, 3},  // ResNet-18 with ImageNet's stem
                                   {128, 8, 8, 64, 64, 3, 3, 1, 1},     {128, 8, 8, 64, 128, 3, 3, 2, 1},
                                   {128, 8, 8, 64, 128, 1, 1, 2, 0},    {128, 4, 4, 128, 128, 3, 3, 1, 1},
                                   {128, 4, 4, 128, 256, 3, 3, 2, 1},   {128, 4, 4, 128, 256, 1, 1, 2, 0},
                                   {128, 2, 2, 256, 256, 3, 3, 1, 1},   {128, 2, 2, 256, 512, 3, 3, 2, 1},
                                   {128, 2, 2, 256, 512, 1, 1, 2, 0},   {128, 1, 1, 512, 512, 3, 3, 1, 1},
                                   {128, 32, 32, 3, 64, 3, 3, 1, 1},  // ResNet-18 with CIFAR's stem
                                   {128, 32, 32, 64, 64, 3, 3, 1, 1},   {128, 32, 32, 64, 128, 3, 3, 2, 1},
                                   {128, 32, 32, 64, 128, 1, 1, 2, 0},  {128, 16, 16, 128, 128, 3, 3, 1, 1},
                                   {128, 16, 16, 128, 256, 3, 3, 2, 1}, {128, 16, 16, 128, 256, 1, 1, 2, 0},
                                   {128, 8, 8, 256, 256, 3, 3, 1, 1},   {128, 8, 8, 256, 512, 3, 3, 2, 1},
                                   {128, 8, 8, 256, 512, 1, 1, 2, 0},   {128, 4, 4, 512, 512, 3, 3, 1, 1}};
  Context context({DeviceKind::cpu, 0});
  for (Conv2dParams params : problems)
    for (const DType dtype : {DType::f32, DType::bf16})
      for (const Conv2dPass pass :
           {Conv2dPass::forward, Conv2dPass::backward_data, Conv2dPass::backward_weight}) {
        params.dtype = dtype;
        if (!cpu::conv2d_row.supports(params, pass)) continue;
        INFO(params.to_string() << ", pass " << static_cast<int>(pass));
        const std::string implementation = cpu::conv2d_onednn_implementation(context, params, pass);
        CAPTURE(implementation);
        CHECK(!implementation.empty());
        CHECK(implementation.rfind("ref", 0) != 0);
      }
}

TEST_CASE("conv2d refuses arguments that do not match", "[kernels][conv2d]") {
  Context context({DeviceKind::cpu, 0});
  const Conv2dParams params{2, 4, 4, 3, 5, 3, 3, 1, 1, DType::f32};
  const Operand x = Operand::unset(context, DType::f32, params.x_shape());
  const Operand w = Operand::unset(context, DType::f32, params.w_shape());
  const Operand y = Operand::unset(context, DType::f32, params.y_shape());
  check_usage_error([&] { conv2d_forward(context, params, x, x, y, {}); },
                    "conv2d: w has shape (2, 4, 4, 3), expected (5, 3, 3, 3)");
  check_usage_error([&] { conv2d_forward(context, params, x, w, x, {}); },
                    "conv2d: y has shape (2, 4, 4, 3), expected (2, 4, 4, 5)");
  check_usage_error([&] { conv2d_backward_data(context, params, x, w, x, GradMode::overwrite, {}); },
                    "conv2d backward data: dy has shape (2, 4, 4, 3), expected (2, 4, 4, 5)");
  check_usage_error(
      [&] {
        conv2d_backward_weight(context, params, x, y, TensorView({}, params.w_shape(), DType::f32),
                               GradMode::accumulate, {});
      },
      "conv2d backward weight: dw is missing");
  const auto refused = [&](const Conv2dParams& wrong, const std::string& message) {
    check_usage_error([&] { conv2d_workspace(context, wrong, Conv2dPass::forward); }, message);
  };
  const std::string sizes = "conv2d: sizes and stride must be positive, padding not negative: ";
  refused({2, 4, 4, 0, 5, 3, 3, 1, 1, DType::f32}, sizes + "2x4x4x0 * 5x3x3 /1 +1 f32");
  refused({2, 4, 4, 3, 5, 3, 3, 0, 1, DType::f32}, sizes + "2x4x4x3 * 5x3x3 /0 +1 f32");
  refused({2, 4, 4, 3, 5, 3, 3, 1, -1, DType::f32}, sizes + "2x4x4x3 * 5x3x3 /1 +-1 f32");
  refused({2, 4, 4, 3, 5, 7, 3, 1, 1, DType::f32},
          "conv2d: the window is larger than the padded picture: 2x4x4x3 * 5x7x3 /1 +1 f32");
}

TEST_CASE("conv2d names its rows when none takes a problem", "[kernels][conv2d]") {
  Context context({DeviceKind::cpu, 0});
  const Conv2dParams params{2, 4, 4, 3, 5, 3, 3, 1, 1, DType::i32};
  CHECK_THROWS_WITH(conv2d_workspace(context, params, Conv2dPass::forward),
                    ContainsSubstring("2x4x4x3 * 5x3x3 /1 +1 i32"));
}
