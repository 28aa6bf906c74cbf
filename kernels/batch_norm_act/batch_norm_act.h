#pragma once

#include <span>

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/residual/residual.h"

namespace zeroth {

/// What follows the batch norm z = bn(x) within one kernel: an activation, or the join of a residual block.
enum class Epilogue : std::uint8_t {
  relu,     ///< y = relu(z)
  plain,    ///< y = relu(z + shortcut)                  as ResidualForm::plain
  post,     ///< y = relu(alpha * z + shortcut)          as ResidualForm::post
  authors,  ///< y = alpha * relu(z) + shortcut          as ResidualForm::authors
};

const char* name_of(Epilogue epilogue);
/// The join of a residual block as an epilogue.
constexpr Epilogue epilogue_of(ResidualForm form) {
  return form == ResidualForm::plain  ? Epilogue::plain
         : form == ResidualForm::post ? Epilogue::post
                                      : Epilogue::authors;
}
constexpr bool has_shortcut(Epilogue epilogue) {
  return epilogue != Epilogue::relu;
}
constexpr bool has_alpha(Epilogue epilogue) {
  return epilogue == Epilogue::post || epilogue == Epilogue::authors;
}

/// Batch normalisation (batch_norm.h) and what follows it, as one operation: z is never written, and backward
/// recomputes from x, or reads from y, where the ReLU was open. x, y, shortcut and their gradients: (rows, C)
/// or (N, H, W, C) in the storage dtype; gamma, beta, moments and their gradients: (C), alpha and dalpha:
/// (1), all in the statistics dtype. shortcut is absent for Epilogue::relu, alpha for relu and plain.
/// Training with one value a channel is refused.
struct BatchNormActParams : BatchNormParams {
  Epilogue epilogue = Epilogue::relu;
  std::string to_string() const;
};

struct BatchNormActTraining {
  ConstTensorView x, gamma, beta, shortcut = {}, alpha = {};
  TensorView running_mean, running_var;  ///< in-out
  TensorView y;                          ///< may alias shortcut
  TensorView mean, inverse_std;          ///< of the batch, for backward
};

struct BatchNormActInference {
  ConstTensorView x, gamma, beta, shortcut, alpha, running_mean, running_var;
  TensorView y;  ///< may alias x or shortcut
};

/// With g = dy where the ReLU was open, else 0 (y > 0 for plain and post, z > 0 for relu and authors), a =
/// alpha or 1, and x_hat = (x - mean) * inverse_std, sums taken over the rows of a channel:
///   dgamma = a * sum g * x_hat,  dbeta = a * sum g
///   dx = a * gamma * inverse_std * (g - sum g / rows - x_hat * sum(g * x_hat) / rows)
///   dshortcut = g (plain, post), dy (authors)
///   dalpha = sum of g * z = sum over channels of gamma * sum(g * x_hat) + beta * sum g: no pass of its own.
/// dshortcut may alias dy when overwritten; dx may, for Epilogue::relu, when overwritten.
struct BatchNormActGradients {
  ConstTensorView dy, x;
  ConstTensorView y = {};  ///< for plain and post; otherwise it may be absent
  ConstTensorView gamma, beta, mean, inverse_std, alpha = {};
  TensorView dx = {};
  GradMode dx_mode = GradMode::overwrite;
  TensorView dshortcut = {};
  GradMode dshortcut_mode = GradMode::overwrite;
  TensorView dgamma = {}, dbeta = {};
  GradMode parameter_mode = GradMode::overwrite;  ///< of dgamma and dbeta
  TensorView dalpha = {};
  GradMode dalpha_mode = GradMode::overwrite;
};

struct BatchNormActRow : Row {
  bool (*supports)(const BatchNormActParams&);
  std::size_t (*workspace)(Context&, const BatchNormActParams&);  // enough for any of the three
  void (*forward_training)(Context&, const BatchNormActParams&, const BatchNormActTraining&, Workspace);
  void (*forward_inference)(Context&, const BatchNormActParams&, const BatchNormActInference&, Workspace);
  void (*backward)(Context&, const BatchNormActParams&, const BatchNormActGradients&, Workspace);
};

/// Every implementation, in order of preference.
std::span<const BatchNormActRow> batch_norm_act_rows();

namespace reference {
extern const BatchNormActRow batch_norm_act_row;
}
namespace cpu {
extern const BatchNormActRow batch_norm_act_row;
}
namespace simt_native {
extern const BatchNormActRow batch_norm_act_row;
}
namespace cuda_native {
extern const BatchNormActRow batch_norm_act_row;
}

std::size_t batch_norm_act_workspace(Context& context, const BatchNormActParams& params);

void batch_norm_act_forward_training(Context& context, const BatchNormActParams& params,
                                     const BatchNormActTraining& operands, Workspace workspace);

void batch_norm_act_forward_inference(Context& context, const BatchNormActParams& params,
                                      const BatchNormActInference& operands, Workspace workspace);

void batch_norm_act_backward(Context& context, const BatchNormActParams& params,
                             const BatchNormActGradients& operands, Workspace workspace);

}  // namespace zeroth
