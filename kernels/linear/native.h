#pragma once

#include "kernels/linear/linear.h"

// Parts of the hand-written row that others use: the library rows on CUDA, tests on simt.

namespace zeroth::cuda_native {

/// y = product + bias, rounded to the storage dtype. product: (N, K) in f32.
void linear_add_bias(Context& context, const LinearParams& params, const float* product, ConstTensorView bias,
                     TensorView y);

/// dbias (=|+=) the column sums of dy, added in a fixed order.
void linear_bias_gradient(Context& context, const LinearParams& params, ConstTensorView dy, TensorView dbias,
                          GradMode mode);

}  // namespace zeroth::cuda_native

namespace zeroth::simt_native {

void linear_add_bias(Context& context, const LinearParams& params, const float* product, ConstTensorView bias,
                     TensorView y);
void linear_bias_gradient(Context& context, const LinearParams& params, ConstTensorView dy, TensorView dbias,
                          GradMode mode);

}  // namespace zeroth::simt_native
