#include "kernels/avg_pool/avg_pool.h"
#include "kernels/check/cases.h"

namespace zeroth::check {

namespace {

AvgPoolParams with_dtype(AvgPoolParams params, DType dtype) {
  params.dtype = dtype;
  return params;
}

std::string describe(const AvgPoolParams& params) {
  return std::to_string(params.n) + "x" + std::to_string(params.h) + "x" + std::to_string(params.w) + "x" +
         std::to_string(params.c);
}

std::function<std::vector<Row>(DType)> rows_for(const AvgPoolParams& params) {
  return [=](DType dtype) { return rows_taking(avg_pool_rows(), with_dtype(params, dtype)); };
}

KernelCase forward_case(const AvgPoolParams& params) {
  // Every row adds at most all pixels in sequence, and divides.
  const auto pixels = static_cast<double>(params.h * params.w);
  return {.operation = "avg_pool",
          .name = "forward " + describe(params),
          .operands = {{.name = "x", .shape = {params.n, params.h, params.w, params.c}},
                       {.name = "y",
                        .shape = {params.n, params.c},
                        .role = Role::output,
                        .accuracy = {.roundings = pixels, .magnitude = Magnitude::absolute}}},
          .run = [=](Context& context, DType dtype, std::span<const TensorView> v,
                     Workspace) { avg_pool_forward(context, with_dtype(params, dtype), v[0], v[1]); },
          .rows = rows_for(params),
          .flops = static_cast<double>(params.n * params.c) * (pixels + 1.0)};
}

KernelCase backward_case(const AvgPoolParams& params, GradMode mode) {
  return {.operation = "avg_pool",
          .name = "backward " + describe(params) + " " + name_of(mode),
          .operands = {{.name = "dy", .shape = {params.n, params.c}},
                       {.name = "dx",
                        .shape = {params.n, params.h, params.w, params.c},
                        .role = role_of(mode),
                        .accuracy = {.roundings = 2.0, .magnitude = Magnitude::absolute}}},
          .run = [=](Context& context, DType dtype, std::span<const TensorView> v,
                     Workspace) { avg_pool_backward(context, with_dtype(params, dtype), v[0], v[1], mode); },
          .rows = rows_for(params),
          .flops = static_cast<double>(params.n * params.h * params.w * params.c),
          .pass = Pass::backward,
          .accumulates = mode == GradMode::accumulate};
}

}  // namespace

std::vector<KernelCase> cases_of(const AvgPoolParams& params) {
  return {forward_case(params), backward_case(params, GradMode::overwrite),
          backward_case(params, GradMode::accumulate)};
}

std::vector<KernelCase> avg_pool_cases() {
  std::vector<KernelCase> cases;
  // One pixel, odd everything, more channels than a block has lanes, pixels that do not share out evenly; a
  // network's own sizes, several CPU threads' worth.
  for (const AvgPoolParams& params :
       {AvgPoolParams{1, 1, 1, 1}, AvgPoolParams{2, 3, 5, 3}, AvgPoolParams{1, 7, 7, 17},
        AvgPoolParams{3, 2, 2, 5}, AvgPoolParams{2, 17, 19, 8}, AvgPoolParams{1, 3, 3, 520},
        AvgPoolParams{0, 8, 8, 64}, AvgPoolParams{1, 1, 5, 33}, AvgPoolParams{12, 8, 8, 64}}) {
    cases.push_back(forward_case(params));
    for (const GradMode mode : kGradModes) cases.push_back(backward_case(params, mode));
  }
  cases.push_back(forward_case({1030, 1, 3, 1}));  // more pictures than blocks
  return cases;
}

}  // namespace zeroth::check
