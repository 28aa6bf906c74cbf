#include <cmath>
#include <limits>
#include <numbers>

#include "kernels/check/cases.h"
#include "kernels/gelu/gelu.h"

namespace zeroth::check {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::function<std::vector<Row>(DType)> rows_for(std::int64_t elements) {
  return [=](DType dtype) { return rows_taking(gelu_rows(), GeluParams{elements, dtype}); };
}

double distribution(double x) {
  return std::erfc(-x / std::numbers::sqrt2) / 2.0;
}

/// Roundings of Phi(x) relative to itself: of erfc itself (4 units in the last place on CUDA), and the
/// rounding of its argument by 2 units, which a tail multiplies by x^2.
double distribution_error(double x) {
  return 10.0 + (x < 0.0 ? 2.0 * x * x : 0.0);
}

KernelCase forward_case(std::int64_t elements, bool in_place) {
  KernelCase call{.operation = "gelu",
                  .name = "forward " + std::to_string(elements) + (in_place ? " in place" : ""),
                  .operands = {{.name = "x",
                                .shape = {elements},
                                .low = -4.0,
                                .high = 4.0,
                                .special = {0.0, -0.0, kNaN, kInfinity, 1e-30, -1e-30, -9.0}},
                               {.name = "y",
                                .shape = {elements},
                                .role = Role::output,
                                .accuracy = {.roundings = 1.0, .magnitude = Magnitude::custom},
                                .aliases = in_place ? 0 : -1}},
                  .run = [](Context& context, DType, std::span<const TensorView> v,
                            Workspace) { gelu_forward(context, v[0], v[1]); },
                  .rows = rows_for(elements)};
  call.magnitude = [](const Values& before, const Values& after) {
    Values result = after;
    for (std::size_t i = 0; i < result[1].size(); ++i)
      result[1][i] = std::fabs(after[1][i]) * (distribution_error(before[0][i]) + 2.0);
    return result;
  };
  call.flops = 2.0 * static_cast<double>(elements);
  return call;
}

KernelCase backward_case(std::int64_t elements, GradMode mode, bool in_place) {
  KernelCase call{.operation = "gelu",
                  .name = std::string("backward ") + std::to_string(elements) + " " + name_of(mode) +
                          (in_place ? " in place" : ""),
                  .operands = {{.name = "dy", .shape = {elements}},
                               {.name = "x", .shape = {elements}, .low = -4.0, .high = 4.0},
                               {.name = "dx",
                                .shape = {elements},
                                .role = role_of(mode),
                                .accuracy = {.roundings = 1.0, .magnitude = Magnitude::custom},
                                .aliases = in_place ? 0 : -1}},
                  .run = [mode](Context& context, DType, std::span<const TensorView> v,
                                Workspace) { gelu_backward(context, v[0], v[1], v[2], mode); },
                  .rows = rows_for(elements)};
  // Both terms round on their own, as does the exponent, whose error counts x^2 / 2 times; then a product and
  // perhaps a sum.
  call.magnitude = [](const Values& before, const Values& after) {
    Values result = after;
    for (std::size_t i = 0; i < result[2].size(); ++i) {
      const double dy = std::fabs(before[0][i]), x = before[1][i];
      const double density = std::exp(-0.5 * x * x) / std::sqrt(2.0 * std::numbers::pi);
      result[2][i] =
          dy * (distribution(x) * (distribution_error(x) + 3.0) + std::fabs(x) * density * (10.0 + x * x)) +
          std::fabs(after[2][i]);
    }
    return result;
  };
  call.flops = 6.0 * static_cast<double>(elements);
  return call;
}

}  // namespace

std::vector<KernelCase> gelu_cases() {
  std::vector<KernelCase> cases;
  // Around a pack of 4 or 8 elements and a block of 256 packs; large enough for several CPU threads.
  for (const std::int64_t elements : {0, 1, 3, 5, 8, 17, 1023, 1025, 2049, 70003}) {
    for (const bool in_place : {false, true}) cases.push_back(forward_case(elements, in_place));
    for (const GradMode mode : kGradModes) cases.push_back(backward_case(elements, mode, false));
    cases.push_back(backward_case(elements, GradMode::overwrite, true));
  }
  return cases;
}

}  // namespace zeroth::check
