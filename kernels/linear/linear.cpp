#include "kernels/linear/linear.h"

#include <fmt/format.h>

#include "kernels/core/profile_range.h"

namespace zeroth {

std::string LinearParams::to_string() const {
  return fmt::format("{}x{} * {} {}", n, c, k, name_of(dtype));
}

std::span<const LinearRow> linear_rows() {
  static const LinearRow rows[] = {cublaslt::linear_row, cuda_native::linear_row, simt_native::linear_row,
                                   cpu::linear_row,      cpu::linear_widened_row, reference::linear_row};
  return rows;
}

namespace {

const LinearRow& select(const Context& context, const LinearParams& params) {
  if (params.n < 0 || params.c < 1 || params.k < 1)
    fail(ErrorKind::usage, "linear: sizes must be positive: " + params.to_string());
  return select_row(
      context, "linear", linear_rows(), [&](const LinearRow& row) { return row.supports(params); },
      [&] { return params.to_string(); });
}

}  // namespace

std::size_t linear_workspace(Context& context, const LinearParams& params) {
  return select(context, params).workspace(context, params);
}

void linear_forward(Context& context, const LinearParams& params, ConstTensorView x, ConstTensorView w,
                    ConstTensorView bias, TensorView y, Workspace workspace) {
  const LinearRow& row = select(context, params);
  const ProfileRange range("linear_forward", row.name);
  check_operand("linear", "x", x, {params.n, params.c}, params.dtype);
  check_operand("linear", "w", w, {params.k, params.c}, params.dtype);
  check_operand("linear", "bias", bias, {params.k}, statistics_dtype(params.dtype));
  check_operand("linear", "y", y, {params.n, params.k}, params.dtype);
  check_workspace("linear", workspace, row.workspace(context, params));
  row.forward(context, params, x, w, bias, y, workspace);
}

void linear_backward_data(Context& context, const LinearParams& params, ConstTensorView dy, ConstTensorView w,
                          TensorView dx, GradMode mode, Workspace workspace) {
  if (mode == GradMode::skip) return;
  const LinearRow& row = select(context, params);
  const ProfileRange range("linear_backward_data", row.name);
  check_operand("linear backward data", "dy", dy, {params.n, params.k}, params.dtype);
  check_operand("linear backward data", "w", w, {params.k, params.c}, params.dtype);
  check_operand("linear backward data", "dx", dx, {params.n, params.c}, params.dtype);
  check_workspace("linear backward data", workspace, row.workspace(context, params));
  row.backward_data(context, params, dy, w, dx, mode, workspace);
}

void linear_backward_weight(Context& context, const LinearParams& params, ConstTensorView x,
                            ConstTensorView dy, TensorView dw, TensorView dbias, GradMode mode,
                            Workspace workspace) {
  if (mode == GradMode::skip) return;
  const LinearRow& row = select(context, params);
  const ProfileRange range("linear_backward_weight", row.name);
  check_operand("linear backward weight", "x", x, {params.n, params.c}, params.dtype);
  check_operand("linear backward weight", "dy", dy, {params.n, params.k}, params.dtype);
  check_operand("linear backward weight", "dw", dw, {params.k, params.c}, params.dtype);
  check_operand("linear backward weight", "dbias", dbias, {params.k}, statistics_dtype(params.dtype));
  check_workspace("linear backward weight", workspace, row.workspace(context, params));
  row.backward_weight(context, params, x, dy, dw, dbias, mode, workspace);
}

}  // namespace zeroth
