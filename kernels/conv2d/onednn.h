#pragma once

#include <string>

#include "kernels/conv2d/conv2d.h"

namespace zeroth::cpu {

/// The name oneDNN gives to the code it chose for one pass, "jit:avx512_core" for instance. Its reference
/// loops, which are a hundred times slower, have names that start with "ref".
std::string conv2d_onednn_implementation(Context& context, const Conv2dParams& params, Conv2dPass pass);

/// The gradient of the filters in f32, (K, R, S, C), whatever the storage dtype. The workspace is that of the
/// row for accumulating.
void conv2d_onednn_filter_sums(Context& context, const Conv2dParams& params, ConstTensorView x,
                               ConstTensorView dy, float* sums, Workspace workspace);

}  // namespace zeroth::cpu
