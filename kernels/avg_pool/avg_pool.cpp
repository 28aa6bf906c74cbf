#include "kernels/avg_pool/avg_pool.h"

#include <fmt/format.h>

#include "kernels/core/profile_range.h"

namespace zeroth {

std::string AvgPoolParams::to_string() const {
  return fmt::format("{}x{}x{}x{} {}", n, h, w, c, name_of(dtype));
}

std::span<const AvgPoolRow> avg_pool_rows() {
  static const AvgPoolRow rows[] = {cuda_native::avg_pool_row, simt_native::avg_pool_row, cpu::avg_pool_row,
                                    reference::avg_pool_row};
  return rows;
}

namespace {

const AvgPoolRow& select(const Context& context, const AvgPoolParams& params) {
  if (params.n < 0 || params.h < 1 || params.w < 1 || params.c < 1)
    fail(ErrorKind::usage, "avg_pool: sizes must be positive: " + params.to_string());
  return select_row(
      context, "avg_pool", avg_pool_rows(), [&](const AvgPoolRow& row) { return row.supports(params); },
      [&] { return params.to_string(); });
}

}  // namespace

void avg_pool_forward(Context& context, const AvgPoolParams& params, ConstTensorView x, TensorView y) {
  const AvgPoolRow& row = select(context, params);
  const ProfileRange range("avg_pool_forward", row.name);
  check_operand("avg_pool", "x", x, {params.n, params.h, params.w, params.c}, params.dtype);
  check_operand("avg_pool", "y", y, {params.n, params.c}, params.dtype);
  row.forward(context, params, x, y);
}

void avg_pool_backward(Context& context, const AvgPoolParams& params, ConstTensorView dy, TensorView dx,
                       GradMode mode) {
  if (mode == GradMode::skip) return;
  const AvgPoolRow& row = select(context, params);
  const ProfileRange range("avg_pool_backward", row.name);
  check_operand("avg_pool backward", "dy", dy, {params.n, params.c}, params.dtype);
  check_operand("avg_pool backward", "dx", dx, {params.n, params.h, params.w, params.c}, params.dtype);
  row.backward(context, params, dy, dx, mode);
}

}  // namespace zeroth
