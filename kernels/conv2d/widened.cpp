// Convolution of 16-bit pictures on a CPU whose oneDNN does not compute in them: operands are widened to f32,
// the f32 row of a fixed split runs, the result is rounded. For correctness: most of the time goes into
// copies.

#include "kernels/conv2d/conv2d.h"
#include "kernels/core/widen.h"

namespace zeroth::cpu {

namespace {

Conv2dParams wide(Conv2dParams params) {
  params.dtype = DType::f32;
  return params;
}

bool supports(const Conv2dParams& params, Conv2dPass pass) {
  return (params.dtype == DType::f16 || params.dtype == DType::bf16) &&
         conv2d_split_row.supports(wide(params), pass);
}

std::size_t copies(const Conv2dParams& params) {
  return widened_bytes(params.x_shape()) + widened_bytes(params.w_shape()) + widened_bytes(params.y_shape());
}

std::size_t workspace(Context& context, const Conv2dParams& params, Conv2dPass pass, GradMode mode) {
  return copies(params) + conv2d_split_row.workspace(context, wide(params), pass, mode);
}

void forward(Context& context, const Conv2dParams& params, ConstTensorView x, ConstTensorView w, TensorView y,
             Workspace workspace) {
  WorkspaceCutter cutter(workspace);
  const TensorView wide_x = widened(cutter, x), wide_w = widened(cutter, w);
  const TensorView wide_y = widened_room(cutter, y.shape);
  conv2d_split_row.forward(context, wide(params), wide_x, wide_w, wide_y, rest_of(workspace, copies(params)));
  narrow(wide_y, y);
}

void backward_data(Context& context, const Conv2dParams& params, ConstTensorView dy, ConstTensorView w,
                   TensorView dx, GradMode mode, Workspace workspace) {
  WorkspaceCutter cutter(workspace);
  const TensorView wide_dy = widened(cutter, dy), wide_w = widened(cutter, w);
  const TensorView wide_dx = widened_result(cutter, dx, mode);
  conv2d_split_row.backward_data(context, wide(params), wide_dy, wide_w, wide_dx, mode,
                                 rest_of(workspace, copies(params)));
  narrow(wide_dx, dx);
}

void backward_weight(Context& context, const Conv2dParams& params, ConstTensorView x, ConstTensorView dy,
                     TensorView dw, GradMode mode, Workspace workspace) {
  WorkspaceCutter cutter(workspace);
  const TensorView wide_x = widened(cutter, x), wide_dy = widened(cutter, dy);
  const TensorView wide_dw = widened_result(cutter, dw, mode);
  conv2d_split_row.backward_weight(context, wide(params), wide_x, wide_dy, wide_dw, mode,
                                   rest_of(workspace, copies(params)));
  narrow(wide_dw, dw);
}

}  // namespace

const Conv2dRow conv2d_widened_row{
    {"widened", DeviceKind::cpu, true}, supports, workspace, forward, backward_data, backward_weight};

}  // namespace zeroth::cpu
