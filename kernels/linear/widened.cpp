// Fully connected layer of 16-bit operands on a CPU whose oneDNN does not compute in them: operands are
// widened to f32, oneDNN's f32 row runs, the result is rounded. For correctness: most of the time goes into
// copies.

#include "kernels/core/widen.h"
#include "kernels/linear/linear.h"

namespace zeroth::cpu {

namespace {

LinearParams wide(LinearParams params) {
  params.dtype = DType::f32;
  return params;
}

bool supports(const LinearParams& params) {
  return (params.dtype == DType::f16 || params.dtype == DType::bf16) && linear_row.supports(wide(params));
}

std::size_t copies(const LinearParams& params) {
  return widened_bytes({params.n, params.c}) + widened_bytes({params.k, params.c}) +
         widened_bytes({params.n, params.k});
}

std::size_t workspace(Context& context, const LinearParams& params) {
  return copies(params) + linear_row.workspace(context, wide(params));
}

void forward(Context& context, const LinearParams& params, ConstTensorView x, ConstTensorView w,
             ConstTensorView bias, TensorView y, Workspace workspace) {
  WorkspaceCutter cutter(workspace);
  const TensorView wide_x = widened(cutter, x), wide_w = widened(cutter, w);
  const TensorView wide_y = widened_room(cutter, y.shape);
  linear_row.forward(context, wide(params), wide_x, wide_w, bias, wide_y, rest_of(workspace, copies(params)));
  narrow(wide_y, y);
}

void backward_data(Context& context, const LinearParams& params, ConstTensorView dy, ConstTensorView w,
                   TensorView dx, GradMode mode, Workspace workspace) {
  WorkspaceCutter cutter(workspace);
  const TensorView wide_dy = widened(cutter, dy), wide_w = widened(cutter, w);
  const TensorView wide_dx = widened_result(cutter, dx, mode);
  linear_row.backward_data(context, wide(params), wide_dy, wide_w, wide_dx, mode,
                           rest_of(workspace, copies(params)));
  narrow(wide_dx, dx);
}

void backward_weight(Context& context, const LinearParams& params, ConstTensorView x, ConstTensorView dy,
                     TensorView dw, TensorView dbias, GradMode mode, Workspace workspace) {
  WorkspaceCutter cutter(workspace);
  const TensorView wide_x = widened(cutter, x), wide_dy = widened(cutter, dy);
  const TensorView wide_dw = widened_result(cutter, dw, mode);
  linear_row.backward_weight(context, wide(params), wide_x, wide_dy, wide_dw, dbias, mode,
                             rest_of(workspace, copies(params)));
  narrow(wide_dw, dw);
}

}  // namespace

const LinearRow linear_widened_row{
    {"widened", DeviceKind::cpu, true}, supports, workspace, forward, backward_data, backward_weight};

}  // namespace zeroth::cpu
