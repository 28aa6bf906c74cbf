#include "kernels/reduce/reduce.h"

#include <fmt/format.h>

#include "kernels/core/profile_range.h"

namespace zeroth {

const char* name_of(Reduction reduction) {
  switch (reduction) {
    case Reduction::sum:
      return "sum";
    case Reduction::sum_of_squares:
      return "sum_of_squares";
    case Reduction::max_abs:
      return "max_abs";
    case Reduction::count_nonfinite:
      return "count_nonfinite";
  }
  return "?";
}

std::string ReduceParams::to_string() const {
  return fmt::format("{} of {} x {}", name_of(reduction), elements, name_of(dtype));
}

std::span<const ReduceRow> reduce_rows() {
  static const ReduceRow rows[] = {cuda_native::reduce_row, simt_native::reduce_row, cpu::reduce_row,
                                   reference::reduce_row};
  return rows;
}

namespace {
const ReduceRow& select(const Context& context, const ReduceParams& params) {
  return select_row(
      context, "reduce", reduce_rows(), [&](const ReduceRow& row) { return row.supports(params); },
      [&] { return params.to_string(); });
}
}  // namespace

std::size_t reduce_workspace(Context& context, const ReduceParams& params) {
  return select(context, params).workspace(context, params);
}

void reduce_forward(Context& context, const ReduceParams& params, ConstTensorView x, TensorView result,
                    Workspace workspace) {
  if (x.elements() != params.elements)
    fail(ErrorKind::usage,
         fmt::format("reduce: x has {} elements, expected {}", x.elements(), params.elements));
  check_operand("reduce", "x", x, x.shape, params.dtype);
  check_operand("reduce", "result", result, {1}, statistics_dtype(params.dtype));
  const ReduceRow& row = select(context, params);
  const ProfileRange range("reduce_forward", row.name);
  check_workspace("reduce", workspace, row.workspace(context, params));
  row.forward(context, params, x, result, workspace);
}

}  // namespace zeroth
