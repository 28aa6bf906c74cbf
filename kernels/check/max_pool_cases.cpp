#include <cmath>
#include <limits>

#include "kernels/check/cases.h"
#include "kernels/max_pool/max_pool.h"

namespace zeroth::check {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

MaxPoolParams with_dtype(MaxPoolParams params, DType dtype) {
  params.dtype = dtype;
  return params;
}

std::string describe(const MaxPoolParams& params) {
  return with_dtype(params, DType::f32).to_string();
}

std::function<std::vector<Row>(DType)> rows_for(const MaxPoolParams& params) {
  return [=](DType dtype) { return rows_taking(max_pool_rows(), with_dtype(params, dtype)); };
}

/// Sixteen different values, so that most windows hold equal maxima.
void make_ties(Values& values) {
  for (double& value : values[0]) value = std::isfinite(value) ? std::floor(value * 8.0) / 8.0 : value;
}

KernelCase forward_case(const MaxPoolParams& params, std::vector<double> special, bool ties) {
  return {.operation = "max_pool",
          .name = "forward " + describe(params) + (special.empty() ? "" : " special") + (ties ? " ties" : ""),
          .operands =
              {{.name = "x", .shape = params.x_shape(), .special = std::move(special)},
               {.name = "y", .shape = params.y_shape(), .role = Role::output},
               {.name = "winner", .shape = params.y_shape(), .role = Role::output, .kind = ElementKind::u8}},
          .run = [=](Context& context, DType dtype, std::span<const TensorView> v,
                     Workspace) { max_pool_forward(context, with_dtype(params, dtype), v[0], v[1], v[2]); },
          .rows = rows_for(params),
          .prepare = ties ? make_ties : std::function<void(Values&)>(),
          .flops = static_cast<double>(params.y_shape().elements() * params.window * params.window)};
}

KernelCase backward_case(const MaxPoolParams& params, GradMode mode) {
  const auto window = static_cast<double>(params.window);
  return {.operation = "max_pool",
          .name = "backward " + describe(params) + " " + name_of(mode),
          .operands = {{.name = "dy", .shape = params.y_shape()},
                       {.name = "winner",
                        .shape = params.y_shape(),
                        .kind = ElementKind::u8,
                        .low = 0.0,
                        .high = window * window - 1e-9},
                       {.name = "dx",
                        .shape = params.x_shape(),
                        .role = role_of(mode),
                        .accuracy = {.roundings = window * window, .magnitude = Magnitude::absolute}}},
          .run =
              [=](Context& context, DType dtype, std::span<const TensorView> v, Workspace) {
                max_pool_backward(context, with_dtype(params, dtype), v[0], v[1], v[2], mode);
              },
          .rows = rows_for(params),
          .flops = static_cast<double>(params.y_shape().elements()),
          .pass = Pass::backward,
          .accumulates = mode == GradMode::accumulate};
}

}  // namespace

std::vector<KernelCase> cases_of(const MaxPoolParams& params) {
  return {forward_case(params, {}, false), backward_case(params, GradMode::overwrite)};
}

std::vector<KernelCase> max_pool_cases() {
  std::vector<KernelCase> cases;
  // n, h, w, c, window, stride, padding: one pixel; ResNet's own pool; windows that touch, overlap, leave
  // gaps, cover everything; odd pictures and channels; packs.
  for (const MaxPoolParams& params :
       {MaxPoolParams{1, 1, 1, 1, 1, 1, 0}, MaxPoolParams{2, 8, 8, 16, 3, 2, 1},
        MaxPoolParams{1, 7, 5, 3, 3, 2, 1}, MaxPoolParams{2, 6, 6, 5, 2, 2, 0},
        MaxPoolParams{1, 9, 4, 17, 3, 1, 1}, MaxPoolParams{1, 8, 9, 8, 2, 3, 1},
        MaxPoolParams{1, 5, 5, 4, 5, 1, 2}, MaxPoolParams{1, 16, 15, 1, 15, 4, 7},
        MaxPoolParams{0, 8, 8, 8, 3, 2, 1}, MaxPoolParams{3, 32, 31, 24, 3, 2, 1}}) {
    cases.push_back(forward_case(params, {}, false));
    cases.push_back(forward_case(params, {}, true));
    cases.push_back(forward_case(
        params, {kNaN, -kInfinity, kInfinity, kNaN, -0.0, 0.0, -kInfinity, kInfinity, kInfinity}, false));
    for (const GradMode mode : kGradModes) cases.push_back(backward_case(params, mode));
  }
  return cases;
}

}  // namespace zeroth::check
