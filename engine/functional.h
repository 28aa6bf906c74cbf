#pragma once

#include "engine/tape.h"
#include "kernels/batch_norm_act/batch_norm_act.h"
#include "kernels/residual/residual.h"

namespace zeroth {

// Differentiable operations: each calls the forward kernel and, on a training tape, records a node that calls
// the backward ones. Formulas, shapes and errors are those of the operation's contract in
// kernels/<operation>/.

/// x: (N, H, W, C), w: (K, R, S, C) -> (N, P, Q, K)
Variable conv2d(Tape& tape, const Variable& x, const Variable& w, std::int64_t stride, std::int64_t padding);

struct BatchNormOptions {
  double eps = 1e-5, momentum = 0.1;
};

/// x: (N, H, W, C); gamma, beta, running_mean, running_var: (C). A training tape normalises by the batch and
/// moves the running moments; an inference tape uses them.
Variable batch_norm(Tape& tape, const Variable& x, const Variable& gamma, const Variable& beta,
                    const Tensor& running_mean, const Tensor& running_var, BatchNormOptions options = {});

/// Batch norm and what follows it, fused. `shortcut` is not used by Epilogue::relu, `alpha`: (1) neither by
/// relu nor by plain.
Variable batch_norm_act(Tape& tape, Epilogue epilogue, const Variable& x, const Variable& gamma,
                        const Variable& beta, const Tensor& running_mean, const Tensor& running_var,
                        const Variable& shortcut = {}, const Variable& alpha = {},
                        BatchNormOptions options = {});

Variable relu(Tape& tape, const Variable& x);

Variable gelu(Tape& tape, const Variable& x);

/// factor * x
Variable scale(Tape& tape, const Variable& x, double factor);

/// Joins a block's branch and shortcut. alpha: (1); not used by ResidualForm::plain.
Variable residual(Tape& tape, ResidualForm form, const Variable& f, const Variable& shortcut,
                  const Variable& alpha);

/// x: (N, H, W, C) -> (N, H/2, W/2, channels)
Variable shortcut_a(Tape& tape, const Variable& x, std::int64_t channels);

/// x: (N, C), w: (K, C), bias: (K) -> (N, K)
Variable linear(Tape& tape, const Variable& x, const Variable& w, const Variable& bias);

/// x: (N, H, W, C) -> (N, C)
Variable global_avg_pool(Tape& tape, const Variable& x);

Variable max_pool(Tape& tape, const Variable& x, std::int64_t window, std::int64_t stride,
                  std::int64_t padding);

struct Loss {
  Variable loss;       ///< (1): mean over the batch
  Tensor row_losses;   ///< (N)
  Tensor predictions;  ///< (N) i32
};

/// Second labels, (N) i32, and the weight of the first ones, (1), which lies on the device: what mixup makes.
struct MixedLabels {
  Tensor labels;
  TensorView share;
};

/// logits: (N, K), labels: (N) i32. `metrics` (3) f64 {sum of losses, correct, rows} is added to unless
/// undefined.
Loss softmax_cross_entropy(Tape& tape, const Variable& logits, const Tensor& labels, double smoothing,
                           const Tensor& metrics, const MixedLabels& others = {});

}  // namespace zeroth
