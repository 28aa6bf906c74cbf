#pragma once

#include "kernels/core/context.h"

namespace zeroth {

/// Floating-point operations a second that this device reaches on a 1024 x 1024 x 1024 matrix product of this
/// dtype, a multiply-add counted as two: the yardstick for a training's speed. The best of a few runs, about
/// 0.1 s on a CPU. 0 on simt, which says nothing about speed.
double measure_matrix_rate(Context& context, DType dtype = DType::f32);

}  // namespace zeroth
