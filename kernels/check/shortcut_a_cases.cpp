#include "kernels/check/cases.h"
#include "kernels/shortcut_a/shortcut_a.h"

namespace zeroth::check {

namespace {

ShortcutAParams with_dtype(ShortcutAParams params, DType dtype) {
  params.dtype = dtype;
  return params;
}

std::string describe(const ShortcutAParams& params) {
  return std::to_string(params.n) + "x" + std::to_string(params.h) + "x" + std::to_string(params.w) + "x" +
         std::to_string(params.c) + " to " + std::to_string(params.k);
}

std::function<std::vector<Row>(DType)> rows_for(const ShortcutAParams& params) {
  return [=](DType dtype) { return rows_taking(shortcut_a_rows(), with_dtype(params, dtype)); };
}

KernelCase forward_case(const ShortcutAParams& params) {
  return {.operation = "shortcut_a",
          .name = "forward " + describe(params),
          .operands = {{.name = "x", .shape = params.x_shape()},
                       {.name = "y", .shape = params.y_shape(), .role = Role::output}},
          .run = [=](Context& context, DType dtype, std::span<const TensorView> v,
                     Workspace) { shortcut_a_forward(context, with_dtype(params, dtype), v[0], v[1]); },
          .rows = rows_for(params)};
}

KernelCase backward_case(const ShortcutAParams& params, GradMode mode) {
  return {
      .operation = "shortcut_a",
      .name = "backward " + describe(params) + " " + name_of(mode),
      .operands = {{.name = "dy", .shape = params.y_shape()},
                   {.name = "dx",
                    .shape = params.x_shape(),
                    .role = role_of(mode),
                    .accuracy = {.roundings = mode == GradMode::accumulate ? 1.0 : 0.0}}},
      .run = [=](Context& context, DType dtype, std::span<const TensorView> v,
                 Workspace) { shortcut_a_backward(context, with_dtype(params, dtype), v[0], v[1], mode); },
      .rows = rows_for(params),
      .pass = Pass::backward,
      .accumulates = mode == GradMode::accumulate};
}

}  // namespace

std::vector<KernelCase> cases_of(const ShortcutAParams& params) {
  return {forward_case(params), backward_case(params, GradMode::overwrite),
          backward_case(params, GradMode::accumulate)};
}

std::vector<KernelCase> shortcut_a_cases() {
  std::vector<KernelCase> cases;
  // Odd pictures, odd channels, an odd number of new ones, none; packs that fit everywhere, that fit C and K
  // but not the zeros before, that fit f32 and not 16 bits; a network's own sizes.
  for (const ShortcutAParams& params :
       {ShortcutAParams{1, 1, 1, 1, 1}, ShortcutAParams{1, 2, 2, 1, 4}, ShortcutAParams{2, 5, 7, 3, 6},
        ShortcutAParams{3, 4, 3, 5, 10}, ShortcutAParams{1, 3, 3, 17, 20}, ShortcutAParams{2, 4, 4, 8, 8},
        ShortcutAParams{1, 5, 5, 8, 16}, ShortcutAParams{2, 3, 3, 8, 12}, ShortcutAParams{2, 6, 6, 4, 12},
        ShortcutAParams{0, 8, 8, 8, 16}, ShortcutAParams{2, 32, 32, 16, 32},
        ShortcutAParams{3, 16, 16, 32, 64}}) {
    cases.push_back(forward_case(params));
    for (const GradMode mode : kGradModes) cases.push_back(backward_case(params, mode));
  }
  return cases;
}

}  // namespace zeroth::check
