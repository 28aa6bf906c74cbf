#include "kernels/check/cases.h"
#include "kernels/check/winograd_magnitude.h"
#include "kernels/conv2d/conv2d.h"

namespace zeroth::check {

namespace {

Conv2dParams with_dtype(Conv2dParams params, DType dtype) {
  params.dtype = dtype;
  return params;
}

/// What the three passes have in common.
KernelCase pass_case(const Conv2dParams& params, Conv2dPass pass, GradMode mode, const std::string& name) {
  return {.operation = "conv2d",
          .name = name + " " + params.to_string(),
          .operands = {},
          .run = {},
          .rows =
              [=](DType dtype) {
                std::vector<Row> rows;
                for (const Conv2dRow& row : conv2d_rows())
                  if (row.supports(with_dtype(params, dtype), pass)) rows.push_back(row);
                return rows;
              },
          .workspace =
              [=](Context& context, DType dtype) {
                return conv2d_workspace(context, with_dtype(params, dtype), pass, mode);
              },
          .flops = 2.0 * static_cast<double>(params.multiply_adds())};
}

/// Of a sum of products: one rounding for each product and each addition after the first.
Accuracy accuracy_of_sum(std::int64_t terms, bool accumulate) {
  return {.roundings = static_cast<double>(terms + (accumulate ? 1 : 0)), .magnitude = Magnitude::absolute};
}

/// `roundings` of the sums; the transforms on either side of the products add those of their own short sums.
OtherSum winograd_sum(const Conv2dParams& params, Conv2dPass pass, std::int64_t terms, GradMode mode) {
  return {.row = "winograd",
          .roundings = static_cast<double>(terms + kWinogradTransformRoundings + 1),
          .magnitude = [=](const Values& before) { return winograd_magnitude(params, pass, before, mode); }};
}

KernelCase forward_case(const Conv2dParams& params) {
  KernelCase result = pass_case(params, Conv2dPass::forward, GradMode::overwrite, "forward");
  result.operands = {{.name = "x", .shape = params.x_shape()},
                     {.name = "w", .shape = params.w_shape()},
                     {.name = "y",
                      .shape = params.y_shape(),
                      .role = Role::output,
                      .accuracy = accuracy_of_sum(params.r * params.s * params.c, false)}};
  result.run = [=](Context& context, DType dtype, std::span<const TensorView> v, Workspace workspace) {
    conv2d_forward(context, with_dtype(params, dtype), v[0], v[1], v[2], workspace);
  };
  result.other_sum = winograd_sum(params, Conv2dPass::forward, params.c, GradMode::overwrite);
  return result;
}

KernelCase backward_data_case(const Conv2dParams& params, GradMode mode) {
  KernelCase result =
      pass_case(params, Conv2dPass::backward_data, mode, std::string("backward data, ") + name_of(mode));
  result.pass = Pass::backward_data;
  result.accumulates = mode == GradMode::accumulate;
  result.operands = {
      {.name = "dy", .shape = params.y_shape()},
      {.name = "w", .shape = params.w_shape()},
      {.name = "dx",
       .shape = params.x_shape(),
       .role = role_of(mode),
       .accuracy = accuracy_of_sum(params.r * params.s * params.k, mode == GradMode::accumulate)}};
  result.run = [=](Context& context, DType dtype, std::span<const TensorView> v, Workspace workspace) {
    conv2d_backward_data(context, with_dtype(params, dtype), v[0], v[1], v[2], mode, workspace);
  };
  result.other_sum = winograd_sum(params, Conv2dPass::backward_data, params.k, mode);
  return result;
}

KernelCase backward_weight_case(const Conv2dParams& params, GradMode mode) {
  KernelCase result =
      pass_case(params, Conv2dPass::backward_weight, mode, std::string("backward weight, ") + name_of(mode));
  result.pass = Pass::backward_weight;
  result.operands = {
      {.name = "x", .shape = params.x_shape()},
      {.name = "dy", .shape = params.y_shape()},
      {.name = "dw",
       .shape = params.w_shape(),
       .role = role_of(mode),
       .accuracy = accuracy_of_sum(std::max<std::int64_t>(params.n * params.p() * params.q(), 1),
                                   mode == GradMode::accumulate)}};
  result.run = [=](Context& context, DType dtype, std::span<const TensorView> v, Workspace workspace) {
    conv2d_backward_weight(context, with_dtype(params, dtype), v[0], v[1], v[2], mode, workspace);
  };
  result.other_sum = winograd_sum(params, Conv2dPass::backward_weight, params.n * params.h * params.w, mode);
  return result;
}

}  // namespace

std::vector<KernelCase> cases_of(const Conv2dParams& params) {
  return {forward_case(params), backward_data_case(params, GradMode::overwrite),
          backward_data_case(params, GradMode::accumulate),
          backward_weight_case(params, GradMode::overwrite)};
}

std::span<const Conv2dParams> conv2d_problems() {
  // n, h, w, c, k, r, s, stride, padding
  static const Conv2dParams problems[] = {
      {1, 1, 1, 1, 1, 1, 1, 1, 0},    // one number
      {0, 4, 4, 4, 8, 3, 3, 1, 1},    // no picture
      {2, 6, 6, 3, 16, 3, 3, 1, 1},   // a stem on pictures of three channels
      {1, 9, 11, 3, 20, 7, 7, 2, 3},  // ResNet-18's stem
      {2, 9, 8, 16, 16, 3, 3, 1, 1},  // the tiles for 16, 32 and more channels
      {3, 6, 7, 16, 32, 3, 3, 2, 1},
      {2, 5, 5, 32, 16, 3, 3, 2, 1},
      {1, 4, 4, 16, 32, 3, 3, 1, 1},    // Winograd: one tile,
      {2, 3, 6, 48, 16, 3, 3, 1, 1},    // tiles that overhang,
      {5, 17, 15, 16, 16, 3, 3, 1, 1},  // several blocks of them,
      {49, 5, 5, 32, 32, 3, 3, 1, 1},   // and more blocks than parts of the filters' gradient
      {2, 7, 3, 24, 72, 3, 3, 2, 1},    // a tile of columns and a part of one
      {2, 6, 6, 32, 64, 1, 1, 2, 0},    // a projection: three of four pixels of x reach no output
      {3, 7, 5, 17, 5, 3, 3, 1, 1},     // odd channels: loads of single elements
      {2, 6, 5, 5, 67, 3, 3, 2, 1},
      {1, 5, 8, 6, 10, 2, 4, 3, 2},    // a window that is not square, and narrower than its stride
      {1, 3, 2, 4, 4, 5, 5, 1, 2},     // a window larger than the picture, not than the padded one
      {2, 6, 9, 4, 8, 5, 1, 1, 0},     // no padding
      {4, 1, 1, 128, 20, 3, 3, 1, 1},  // one pixel: the sum over taps is split
      {3, 13, 11, 4, 4, 3, 3, 1, 1},   // the sum over pixels is split
      {1, 2, 2, 4, 8, 3, 3, 5, 2},     // phases of the stride without pixels
      // For tensor cores, 3 x 3 with equal channels:
      {3, 4, 8, 64, 64, 3, 3, 1, 1},   // pictures side by side in a tile, and a tile that is not full
      {1, 6, 5, 64, 64, 3, 3, 1, 1},   // rows below the picture
      {1, 9, 16, 32, 32, 3, 3, 1, 1},  // a picture a tile
      {2, 7, 9, 32, 32, 3, 3, 1, 1},   // strips that cross from picture to picture
      {1, 9, 32, 16, 16, 3, 3, 1, 1},  // bands of a picture, the last of one row
      {5, 1, 1, 16, 16, 3, 3, 1, 1},   // nothing but border
      {3, 4, 5, 16, 16, 3, 3, 1, 1},
  };
  return problems;
}

std::vector<KernelCase> conv2d_cases() {
  std::vector<KernelCase> cases;
  for (const Conv2dParams& params : conv2d_problems()) {
    cases.push_back(forward_case(params));
    for (const GradMode mode : kGradModes) {
      cases.push_back(backward_data_case(params, mode));
      cases.push_back(backward_weight_case(params, mode));
    }
  }
  return cases;
}

}  // namespace zeroth::check
