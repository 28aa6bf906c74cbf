#pragma once

#include <span>

#include "kernels/batch_norm/rank_group.h"
#include "kernels/core/operation_table.h"

namespace zeroth {

/// Batch normalisation over the last axis (Ioffe and Szegedy, 2015): for each channel c, over all `rows` = N
/// * H * W values,
///   training:   mean, var = biased moments of the batch;  y = (x - mean) / sqrt(var + eps) * gamma + beta
///               running = (1 - momentum) * running + momentum * new, where the variance that runs is the
///               unbiased one
///   inference:  the running moments take the place of the batch's
/// x, y, dy, dx: (rows, C) or (N, H, W, C) in the storage dtype; gamma, beta, moments and their gradients:
/// (C) in the statistics dtype (f32, or f64 for f64). The variance is a sum of squared deviations, never
/// mean(x^2) - mean(x)^2 in f32. Training with one value a channel is refused: its variance says nothing. y
/// may alias x in inference only.
///
/// In training with a group, all of the above and the gradient's sums go over the rows of all its ranks, but
/// dgamma and dbeta (and dalpha of what is fused): they are this rank's share, as all gradients of parameters
/// are.
struct BatchNormParams {
  std::int64_t rows, channels;  ///< rows of this rank
  double eps = 1e-5, momentum = 0.1;
  DType dtype = DType::f32;
  const RankGroup* group = nullptr;  ///< outlives the call

  std::int64_t rows_of_all_ranks() const { return group == nullptr ? rows : rows * group->size(); }
  std::string to_string() const;
};

struct BatchNormRow : Row {
  bool (*supports)(const BatchNormParams&);
  std::size_t (*workspace)(Context&, const BatchNormParams&);  // enough for any of the three
  void (*forward_training)(Context&, const BatchNormParams&, ConstTensorView x, ConstTensorView gamma,
                           ConstTensorView beta, TensorView running_mean, TensorView running_var,
                           TensorView y, TensorView mean, TensorView inverse_std, Workspace);
  void (*forward_inference)(Context&, const BatchNormParams&, ConstTensorView x, ConstTensorView gamma,
                            ConstTensorView beta, ConstTensorView running_mean, ConstTensorView running_var,
                            TensorView y, Workspace);
  void (*backward)(Context&, const BatchNormParams&, ConstTensorView dy, ConstTensorView x,
                   ConstTensorView gamma, ConstTensorView mean, ConstTensorView inverse_std, TensorView dx,
                   GradMode dx_mode, TensorView dgamma, TensorView dbeta, GradMode parameter_mode, Workspace);
};

/// Every implementation, in order of preference.
std::span<const BatchNormRow> batch_norm_rows();

namespace reference {
extern const BatchNormRow batch_norm_row;
}
namespace cpu {
extern const BatchNormRow batch_norm_row;
}
namespace simt_native {
extern const BatchNormRow batch_norm_row;
}
namespace cuda_native {
extern const BatchNormRow batch_norm_row;
}
namespace cudnn {
extern const BatchNormRow batch_norm_row;
}

std::size_t batch_norm_workspace(Context& context, const BatchNormParams& params);

/// Writes y, the batch's mean and 1 / sqrt(var + eps) for backward, and updates the running moments (in-out).
void batch_norm_forward_training(Context& context, const BatchNormParams& params, ConstTensorView x,
                                 ConstTensorView gamma, ConstTensorView beta, TensorView running_mean,
                                 TensorView running_var, TensorView y, TensorView mean,
                                 TensorView inverse_std, Workspace workspace);

void batch_norm_forward_inference(Context& context, const BatchNormParams& params, ConstTensorView x,
                                  ConstTensorView gamma, ConstTensorView beta, ConstTensorView running_mean,
                                  ConstTensorView running_var, TensorView y, Workspace workspace);

/// Gradient of training-mode batch normalisation. With x_hat = (x - mean) * inverse_std:
///   dgamma = sum dy * x_hat,  dbeta = sum dy,
///   dx = gamma * inverse_std * (dy - dbeta / rows - x_hat * dgamma / rows), the sums taken over the rows of
///   a channel.
/// parameter_mode skip leaves dgamma and dbeta alone (they may be null). dx may alias dy when it is
/// overwritten.
void batch_norm_backward(Context& context, const BatchNormParams& params, ConstTensorView dy,
                         ConstTensorView x, ConstTensorView gamma, ConstTensorView mean,
                         ConstTensorView inverse_std, TensorView dx, GradMode dx_mode, TensorView dgamma,
                         TensorView dbeta, GradMode parameter_mode, Workspace workspace);

}  // namespace zeroth
