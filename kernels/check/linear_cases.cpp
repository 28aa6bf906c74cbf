#include "kernels/check/cases.h"
#include "kernels/linear/linear.h"

namespace zeroth::check {

namespace {

LinearParams with_dtype(LinearParams params, DType dtype) {
  params.dtype = dtype;
  return params;
}

KernelCase pass_case(const LinearParams& params, const std::string& name) {
  return {.operation = "linear",
          .name = name + " " + params.to_string(),
          .operands = {},
          .run = {},
          .rows = [=](DType dtype) { return rows_taking(linear_rows(), with_dtype(params, dtype)); },
          .workspace = [=](Context& context,
                           DType dtype) { return linear_workspace(context, with_dtype(params, dtype)); },
          .flops = 2.0 * static_cast<double>(params.n * params.c * params.k)};
}

/// Of a sum of products and `added` more terms: one rounding for each product and each addition.
Accuracy accuracy_of_sum(std::int64_t terms, int added) {
  return {.roundings = static_cast<double>(terms + added), .magnitude = Magnitude::absolute};
}

KernelCase forward_case(const LinearParams& params) {
  KernelCase result = pass_case(params, "forward");
  result.operands = {{.name = "x", .shape = {params.n, params.c}},
                     {.name = "w", .shape = {params.k, params.c}},
                     {.name = "bias", .shape = {params.k}, .kind = ElementKind::statistics},
                     {.name = "y",
                      .shape = {params.n, params.k},
                      .role = Role::output,
                      .accuracy = accuracy_of_sum(params.c, 1)}};
  result.run = [=](Context& context, DType dtype, std::span<const TensorView> v, Workspace workspace) {
    linear_forward(context, with_dtype(params, dtype), v[0], v[1], v[2], v[3], workspace);
  };
  return result;
}

KernelCase backward_data_case(const LinearParams& params, GradMode mode) {
  KernelCase result = pass_case(params, std::string("backward data, ") + name_of(mode));
  result.pass = Pass::backward_data;
  result.accumulates = mode == GradMode::accumulate;
  result.operands = {{.name = "dy", .shape = {params.n, params.k}},
                     {.name = "w", .shape = {params.k, params.c}},
                     {.name = "dx",
                      .shape = {params.n, params.c},
                      .role = role_of(mode),
                      .accuracy = accuracy_of_sum(params.k, mode == GradMode::accumulate)}};
  result.run = [=](Context& context, DType dtype, std::span<const TensorView> v, Workspace workspace) {
    linear_backward_data(context, with_dtype(params, dtype), v[0], v[1], v[2], mode, workspace);
  };
  return result;
}

KernelCase backward_weight_case(const LinearParams& params, GradMode mode) {
  KernelCase result = pass_case(params, std::string("backward weight, ") + name_of(mode));
  result.pass = Pass::backward_weight;
  const Accuracy accuracy =
      accuracy_of_sum(std::max<std::int64_t>(params.n, 1), mode == GradMode::accumulate);
  result.operands = {
      {.name = "x", .shape = {params.n, params.c}},
      {.name = "dy", .shape = {params.n, params.k}},
      {.name = "dw", .shape = {params.k, params.c}, .role = role_of(mode), .accuracy = accuracy},
      {.name = "dbias",
       .shape = {params.k},
       .role = role_of(mode),
       .kind = ElementKind::statistics,
       .accuracy = accuracy}};
  result.run = [=](Context& context, DType dtype, std::span<const TensorView> v, Workspace workspace) {
    linear_backward_weight(context, with_dtype(params, dtype), v[0], v[1], v[2], v[3], mode, workspace);
  };
  return result;
}

}  // namespace

std::vector<KernelCase> cases_of(const LinearParams& params) {
  return {forward_case(params), backward_data_case(params, GradMode::overwrite),
          backward_data_case(params, GradMode::accumulate),
          backward_weight_case(params, GradMode::overwrite)};
}

std::vector<KernelCase> linear_cases() {
  // n, c, k
  const LinearParams problems[] = {
      {1, 1, 1},      // one number
      {0, 8, 12},     // no picture
      {5, 64, 10},    // ResNet-20's classifier, columns no multiple of a vector
      {33, 64, 12},   // vectors, and a few rows more than they fill
      {3, 17, 5},     // odd everything
      {2, 512, 100},  // the sum over channels is split
      {300, 12, 72},  // the sum over pictures is split, more than one tile of columns
      {70, 96, 68},
  };
  std::vector<KernelCase> cases;
  for (const LinearParams& params : problems) {
    cases.push_back(forward_case(params));
    for (const GradMode mode : kGradModes) {
      cases.push_back(backward_data_case(params, mode));
      cases.push_back(backward_weight_case(params, mode));
    }
  }
  return cases;
}

}  // namespace zeroth::check
