#include <limits>

#include "kernels/check/cases.h"
#include "kernels/relu/relu.h"

namespace zeroth::check {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::function<std::vector<Row>(DType)> rows_for(std::int64_t elements) {
  return [=](DType dtype) { return rows_taking(relu_rows(), ReluParams{elements, dtype}); };
}

KernelCase forward_case(std::int64_t elements, bool in_place) {
  return {
      .operation = "relu",
      .name = "forward " + std::to_string(elements) + (in_place ? " in place" : ""),
      .operands = {{.name = "x",
                    .shape = {elements},
                    .special = {0.0, -0.0, kNaN, kInfinity, -kInfinity, 1e-30, -1e-30}},
                   {.name = "y", .shape = {elements}, .role = Role::output, .aliases = in_place ? 0 : -1}},
      .run = [](Context& context, DType, std::span<const TensorView> v,
                Workspace) { relu_forward(context, v[0], v[1]); },
      .rows = rows_for(elements),
      .flops = static_cast<double>(elements)};
}

KernelCase backward_case(std::int64_t elements, GradMode mode, bool in_place) {
  return {
      .operation = "relu",
      .name = std::string("backward ") + std::to_string(elements) + " " + name_of(mode) +
              (in_place ? " in place" : ""),
      .operands = {{.name = "dy", .shape = {elements}},
                   {.name = "y", .shape = {elements}, .low = -0.5, .special = {0.0, 1.0, 1e-30, 0.0, 2.0}},
                   {.name = "dx",
                    .shape = {elements},
                    .role = role_of(mode),
                    .accuracy = {.roundings = mode == GradMode::accumulate ? 1.0 : 0.0},
                    .aliases = in_place ? 0 : -1}},
      .run = [mode](Context& context, DType, std::span<const TensorView> v,
                    Workspace) { relu_backward(context, v[0], v[1], v[2], mode); },
      .rows = rows_for(elements),
      .flops = static_cast<double>(elements)};
}

}  // namespace

std::vector<KernelCase> relu_cases() {
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
