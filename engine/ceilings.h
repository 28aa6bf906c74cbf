#pragma once

#include "kernels/core/context.h"

namespace zeroth {

// What a device reaches at best, measured: the yardsticks for kernels and trainings. 0 on simt, which says
// nothing about speed.

/// Floating-point operations a second of a square matrix product in this dtype, a multiply-add counted as
/// two: 1024 on a side on the CPU (about 0.1 s), 4096 on a GPU. The best of a few runs of the row that
/// `linear` would take.
double measure_matrix_rate(Context& context, DType dtype = DType::f32);

/// Bytes a second that copying moves, what is read and what is written both counted, between buffers larger
/// than the last cache; on the CPU all threads copy. The best of a few runs.
double measure_copy_rate(Context& context);

}  // namespace zeroth
