#include "kernels/gradient_norm/gradient_norm.h"

#include "kernels/core/profile_range.h"

namespace zeroth {

std::span<const GradientNormRow> gradient_norm_rows() {
  static const GradientNormRow rows[] = {cuda_native::gradient_norm_row, simt_native::gradient_norm_row,
                                         cpu::gradient_norm_row, reference::gradient_norm_row};
  return rows;
}

namespace {
const GradientNormRow& select(const Context& context, const FlatParams& params) {
  return select_row(
      context, "gradient_norm", gradient_norm_rows(),
      [&](const GradientNormRow& row) { return row.supports(params); }, [&] { return params.to_string(); });
}
}  // namespace

std::size_t gradient_norm_workspace(Context& context, const FlatParams& params) {
  return select(context, params).workspace(context, params);
}

void gradient_norm_forward(Context& context, const FlatParams& params, const FlatParameters& parameters,
                           TensorView sum_of_squares, TensorView bad_segment, Workspace workspace) {
  check_flat_parameters("gradient_norm", params, parameters);
  check_operand("gradient_norm", "sum_of_squares", sum_of_squares, {1}, DType::f64);
  check_operand("gradient_norm", "bad_segment", bad_segment, {1}, DType::i32);
  const GradientNormRow& row = select(context, params);
  const ProfileRange range("gradient_norm_forward", row.name);
  check_workspace("gradient_norm", workspace, row.workspace(context, params));
  row.forward(context, params, parameters, sum_of_squares, bad_segment, workspace);
}

}  // namespace zeroth
