#include "kernels/conv2d/conv2d.h"

#include <fmt/format.h>

#include "kernels/core/profile_range.h"

namespace zeroth {

std::string Conv2dParams::to_string() const {
  return fmt::format("{}x{}x{}x{} * {}x{}x{} /{} +{} {}", n, h, w, c, k, r, s, stride, padding,
                     name_of(dtype));
}

std::span<const Conv2dRow> conv2d_rows() {
  static const Conv2dRow rows[] = {
      cudnn::conv2d_row,       cuda_native::conv2d_row,     cuda_native::conv2d_mma_row,
      simt_native::conv2d_row, simt_native::conv2d_mma_row, cpu::conv2d_winograd_row,
      cpu::conv2d_row,         cpu::conv2d_split_row,       cpu::conv2d_widened_row,
      reference::conv2d_row};
  return rows;
}

void check_convolution(const char* operation, const Conv2dParams& params) {
  if (params.n < 0 || params.h < 1 || params.w < 1 || params.c < 1 || params.k < 1 || params.r < 1 ||
      params.s < 1 || params.stride < 1 || params.padding < 0)
    fail(ErrorKind::usage, fmt::format("{}: sizes and stride must be positive, padding not negative: {}",
                                       operation, params.to_string()));
  if (params.h + 2 * params.padding < params.r || params.w + 2 * params.padding < params.s)
    fail(ErrorKind::usage,
         fmt::format("{}: the window is larger than the padded picture: {}", operation, params.to_string()));
}

namespace {

const Conv2dRow& select(const Context& context, const Conv2dParams& params, Conv2dPass pass) {
  check_convolution("conv2d", params);
  return select_row(
      context, "conv2d", conv2d_rows(), [&](const Conv2dRow& row) { return row.supports(params, pass); },
      [&] { return params.to_string(); });
}

}  // namespace

std::size_t conv2d_workspace(Context& context, const Conv2dParams& params, Conv2dPass pass, GradMode mode) {
  const Conv2dRow& row = select(context, params, pass);
  return mode == GradMode::skip ? 0 : row.workspace(context, params, pass, mode);
}

void conv2d_forward(Context& context, const Conv2dParams& params, ConstTensorView x, ConstTensorView w,
                    TensorView y, Workspace workspace) {
  const Conv2dRow& row = select(context, params, Conv2dPass::forward);
  const ProfileRange range("conv2d_forward", row.name);
  check_operand("conv2d", "x", x, params.x_shape(), params.dtype);
  check_operand("conv2d", "w", w, params.w_shape(), params.dtype);
  check_operand("conv2d", "y", y, params.y_shape(), params.dtype);
  check_workspace("conv2d", workspace,
                  row.workspace(context, params, Conv2dPass::forward, GradMode::overwrite));
  row.forward(context, params, x, w, y, workspace);
}

void conv2d_backward_data(Context& context, const Conv2dParams& params, ConstTensorView dy, ConstTensorView w,
                          TensorView dx, GradMode mode, Workspace workspace) {
  if (mode == GradMode::skip) return;
  const Conv2dRow& row = select(context, params, Conv2dPass::backward_data);
  const ProfileRange range("conv2d_backward_data", row.name);
  check_operand("conv2d backward data", "dy", dy, params.y_shape(), params.dtype);
  check_operand("conv2d backward data", "w", w, params.w_shape(), params.dtype);
  check_operand("conv2d backward data", "dx", dx, params.x_shape(), params.dtype);
  check_workspace("conv2d backward data", workspace,
                  row.workspace(context, params, Conv2dPass::backward_data, mode));
  row.backward_data(context, params, dy, w, dx, mode, workspace);
}

void conv2d_backward_weight(Context& context, const Conv2dParams& params, ConstTensorView x,
                            ConstTensorView dy, TensorView dw, GradMode mode, Workspace workspace) {
  if (mode == GradMode::skip) return;
  const Conv2dRow& row = select(context, params, Conv2dPass::backward_weight);
  const ProfileRange range("conv2d_backward_weight", row.name);
  check_operand("conv2d backward weight", "x", x, params.x_shape(), params.dtype);
  check_operand("conv2d backward weight", "dy", dy, params.y_shape(), params.dtype);
  check_operand("conv2d backward weight", "dw", dw, params.w_shape(), params.dtype);
  check_workspace("conv2d backward weight", workspace,
                  row.workspace(context, params, Conv2dPass::backward_weight, mode));
  row.backward_weight(context, params, x, dy, dw, mode, workspace);
}

}  // namespace zeroth
