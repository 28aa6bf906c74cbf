#include "engine/functional.h"

#include "kernels/avg_pool/avg_pool.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/linear/linear.h"
#include "kernels/max_pool/max_pool.h"
#include "kernels/relu/relu.h"
#include "kernels/shortcut_a/shortcut_a.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

namespace zeroth {

namespace {

void require_rank(const Variable& x, int rank, const char* message) {
  require(x.value.shape().rank() == rank, message);
}

struct Conv2dNode {
  Conv2dParams params;
  Tensor x;
  Tape::Saved w;
  int x_slot, w_slot, y_slot;

  void backward(Tape& tape) {
    const Tensor dy = tape.take_gradient(y_slot);
    if (!dy.defined()) return;
    Context& context = tape.context();
    // Nobody waits for dw before the update, while dx is what the next node begins with.
    if (const auto dw = tape.target(w_slot); dw.mode != GradMode::skip)
      tape.beside(w_slot, {x, dy}, [&] {
        conv2d_backward_weight(
            context, params, x, dy, dw.view, dw.mode,
            context.scratch(conv2d_workspace(context, params, Conv2dPass::backward_weight, dw.mode)));
      });
    if (const auto dx = tape.target(x_slot); dx.mode != GradMode::skip)
      conv2d_backward_data(
          context, params, dy, w.get(), dx.view, dx.mode,
          context.scratch(conv2d_workspace(context, params, Conv2dPass::backward_data, dx.mode)));
  }
};

struct BatchNormNode {
  BatchNormParams params;
  Tensor x, mean, inverse_std;
  Tape::Saved gamma;
  int x_slot, gamma_slot, beta_slot, y_slot;

  void backward(Tape& tape) {
    const Tensor dy = tape.take_gradient(y_slot);
    if (!dy.defined()) return;
    Context& context = tape.context();
    const auto dgamma = tape.target(gamma_slot), dbeta = tape.target(beta_slot);
    require(dgamma.mode == dbeta.mode, "batch_norm: gamma and beta want gradients together");
    const Workspace workspace = context.scratch(batch_norm_workspace(context, params));
    // dx may overwrite dy in place: the gradient of the output is not needed after this node.
    const bool in_place = tape.can_adopt(x_slot);
    const auto dx = in_place ? Tape::Target{dy, GradMode::overwrite} : tape.target(x_slot);
    batch_norm_backward(context, params, dy, x, gamma.get(), mean, inverse_std, dx.view, dx.mode, dgamma.view,
                        dbeta.view, dgamma.mode, workspace);
    if (in_place) tape.adopt(x_slot, dy);
  }
};

struct BatchNormActNode {
  BatchNormActParams params;
  Tensor x, y, mean, inverse_std;  // y only where it masks
  Tape::Saved gamma, beta, alpha;
  int x_slot, gamma_slot, beta_slot, shortcut_slot, alpha_slot, y_slot;

  void backward(Tape& tape) {
    const Tensor dy = tape.take_gradient(y_slot);
    if (!dy.defined()) return;
    Context& context = tape.context();
    const auto dgamma = tape.target(gamma_slot), dbeta = tape.target(beta_slot),
               dalpha = tape.target(alpha_slot);
    require(dgamma.mode == dbeta.mode, "batch_norm_act: gamma and beta want gradients together");
    // One gradient may take the place of dy, which is not needed after this node: the shortcut's, or x's.
    const int heir = has_shortcut(params.epilogue) ? shortcut_slot : x_slot;
    const bool in_place = tape.can_adopt(heir);
    const auto target = [&](int slot) {
      return in_place && slot == heir ? Tape::Target{dy, GradMode::overwrite} : tape.target(slot);
    };
    const auto dx = target(x_slot), dshortcut = target(shortcut_slot);
    batch_norm_act_backward(context, params,
                            {.dy = dy,
                             .x = x,
                             .y = y,
                             .gamma = gamma.get(),
                             .beta = beta.get(),
                             .mean = mean,
                             .inverse_std = inverse_std,
                             .alpha = alpha.get(),
                             .dx = dx.view,
                             .dx_mode = dx.mode,
                             .dshortcut = dshortcut.view,
                             .dshortcut_mode = dshortcut.mode,
                             .dgamma = dgamma.view,
                             .dbeta = dbeta.view,
                             .parameter_mode = dgamma.mode,
                             .dalpha = dalpha.view,
                             .dalpha_mode = dalpha.mode},
                            context.scratch(batch_norm_act_workspace(context, params)));
    if (in_place) tape.adopt(heir, dy);
  }
};

struct ReluNode {
  Tensor y;
  int x_slot, y_slot;

  void backward(Tape& tape) {
    const Tensor dy = tape.take_gradient(y_slot);
    if (!dy.defined()) return;
    if (tape.can_adopt(x_slot)) {
      relu_backward(tape.context(), dy, y, dy, GradMode::overwrite);
      tape.adopt(x_slot, dy);
    } else {
      const auto dx = tape.target(x_slot);
      relu_backward(tape.context(), dy, y, dx.view, dx.mode);
    }
  }
};

struct ResidualNode {
  ResidualParams params;
  Tensor f, y;
  Tape::Saved alpha;
  int f_slot, shortcut_slot, alpha_slot, y_slot;

  void backward(Tape& tape) {
    const Tensor dy = tape.take_gradient(y_slot);
    if (!dy.defined()) return;
    Context& context = tape.context();
    const auto df = tape.target(f_slot), dalpha = tape.target(alpha_slot);
    const bool in_place = tape.can_adopt(shortcut_slot);
    const auto dshortcut = in_place ? Tape::Target{dy, GradMode::overwrite} : tape.target(shortcut_slot);
    residual_backward(context, params, dy, f, y, alpha.get(), df.view, df.mode, dshortcut.view,
                      dshortcut.mode, dalpha.view, dalpha.mode,
                      context.scratch(residual_workspace(context, params)));
    if (in_place) tape.adopt(shortcut_slot, dy);
  }
};

struct ShortcutANode {
  ShortcutAParams params;
  int x_slot, y_slot;

  void backward(Tape& tape) {
    const Tensor dy = tape.take_gradient(y_slot);
    if (!dy.defined()) return;
    if (const auto dx = tape.target(x_slot); dx.mode != GradMode::skip)
      shortcut_a_backward(tape.context(), params, dy, dx.view, dx.mode);
  }
};

struct LinearNode {
  LinearParams params;
  Tensor x;
  Tape::Saved w;
  int x_slot, w_slot, bias_slot, y_slot;

  void backward(Tape& tape) {
    const Tensor dy = tape.take_gradient(y_slot);
    if (!dy.defined()) return;
    Context& context = tape.context();
    const Workspace workspace = context.scratch(linear_workspace(context, params));
    const auto dw = tape.target(w_slot), dbias = tape.target(bias_slot);
    require(dw.mode == dbias.mode, "linear: weight and bias want gradients together");
    if (dw.mode != GradMode::skip)
      linear_backward_weight(context, params, x, dy, dw.view, dbias.view, dw.mode, workspace);
    if (const auto dx = tape.target(x_slot); dx.mode != GradMode::skip)
      linear_backward_data(context, params, dy, w.get(), dx.view, dx.mode, workspace);
  }
};

struct AvgPoolNode {
  AvgPoolParams params;
  int x_slot, y_slot;

  void backward(Tape& tape) {
    const Tensor dy = tape.take_gradient(y_slot);
    if (!dy.defined()) return;
    if (const auto dx = tape.target(x_slot); dx.mode != GradMode::skip)
      avg_pool_backward(tape.context(), params, dy, dx.view, dx.mode);
  }
};

struct MaxPoolNode {
  MaxPoolParams params;
  Tensor winner;
  int x_slot, y_slot;

  void backward(Tape& tape) {
    const Tensor dy = tape.take_gradient(y_slot);
    if (!dy.defined()) return;
    if (const auto dx = tape.target(x_slot); dx.mode != GradMode::skip)
      max_pool_backward(tape.context(), params, dy, winner, dx.view, dx.mode);
  }
};

struct SoftmaxCrossEntropyNode {
  SoftmaxCrossEntropyParams params;
  Tensor logits, labels;
  int logits_slot, loss_slot;

  void backward(Tape& tape) {
    const Tensor dloss = tape.take_gradient(loss_slot);
    if (!dloss.defined()) return;
    if (const auto dlogits = tape.target(logits_slot); dlogits.mode != GradMode::skip)
      softmax_cross_entropy_backward(tape.context(), params, logits, labels, dloss, dlogits.view,
                                     dlogits.mode);
  }
};

BatchNormParams batch_norm_params(const Tape& tape, const Shape& x, const BatchNormOptions& options,
                                  DType dtype) {
  return {.rows = x[0] * x[1] * x[2],
          .channels = x[3],
          .eps = options.eps,
          .momentum = options.momentum,
          .dtype = dtype,
          .group = tape.training() ? tape.batch_norm_group() : nullptr};
}

}  // namespace

Variable conv2d(Tape& tape, const Variable& x, const Variable& w, std::int64_t stride, std::int64_t padding) {
  require_rank(x, 4, "conv2d: x has four dimensions (N, H, W, C)");
  require_rank(w, 4, "conv2d: w has four dimensions (K, R, S, C)");
  const Shape &in = x.value.shape(), &filter = w.value.shape();
  const Conv2dParams params{in[0],     in[1],     in[2],  in[3],   filter[0],
                            filter[1], filter[2], stride, padding, x.value.dtype()};
  Context& context = tape.context();
  Variable y =
      tape.result(Tensor::empty(context, params.y_shape(), params.dtype), x.slot >= 0 || w.slot >= 0);
  conv2d_forward(context, params, x.value, w.value, y.value,
                 context.scratch(conv2d_workspace(context, params, Conv2dPass::forward)));
  if (y.slot >= 0) tape.record(Conv2dNode{params, x.value, w, x.slot, w.slot, y.slot});
  return y;
}

Variable batch_norm(Tape& tape, const Variable& x, const Variable& gamma, const Variable& beta,
                    const Tensor& running_mean, const Tensor& running_var, BatchNormOptions options) {
  require_rank(x, 4, "batch_norm: x has four dimensions (N, H, W, C)");
  const Shape& shape = x.value.shape();
  const BatchNormParams params = batch_norm_params(tape, shape, options, x.value.dtype());
  Context& context = tape.context();
  const Workspace workspace = context.scratch(batch_norm_workspace(context, params));
  Tensor y = Tensor::empty(context, shape, params.dtype);
  if (!tape.training()) {
    batch_norm_forward_inference(context, params, x.value, gamma.value, beta.value, running_mean, running_var,
                                 y, workspace);
    return tape.constant(std::move(y));
  }
  const Tensor mean = Tensor::empty(context, {params.channels}, statistics_dtype(params.dtype));
  const Tensor inverse_std = Tensor::empty(context, {params.channels}, statistics_dtype(params.dtype));
  batch_norm_forward_training(context, params, x.value, gamma.value, beta.value, running_mean, running_var, y,
                              mean, inverse_std, workspace);
  Variable result = tape.result(std::move(y), x.slot >= 0 || gamma.slot >= 0 || beta.slot >= 0);
  if (result.slot >= 0)
    tape.record(
        BatchNormNode{params, x.value, mean, inverse_std, gamma, x.slot, gamma.slot, beta.slot, result.slot});
  return result;
}

Variable batch_norm_act(Tape& tape, Epilogue epilogue, const Variable& x, const Variable& gamma,
                        const Variable& beta, const Tensor& running_mean, const Tensor& running_var,
                        const Variable& shortcut, const Variable& alpha, BatchNormOptions options) {
  require_rank(x, 4, "batch_norm_act: x has four dimensions (N, H, W, C)");
  const Shape& shape = x.value.shape();
  const BatchNormActParams params{batch_norm_params(tape, shape, options, x.value.dtype()), epilogue};
  Context& context = tape.context();
  const Workspace workspace = context.scratch(batch_norm_act_workspace(context, params));
  Tensor y = Tensor::empty(context, shape, params.dtype);
  if (!tape.training()) {
    batch_norm_act_forward_inference(
        context, params,
        {x.value, gamma.value, beta.value, shortcut.value, alpha.value, running_mean, running_var, y},
        workspace);
    return tape.constant(std::move(y));
  }
  const Tensor mean = Tensor::empty(context, {params.channels}, statistics_dtype(params.dtype));
  const Tensor inverse_std = Tensor::empty(context, {params.channels}, statistics_dtype(params.dtype));
  batch_norm_act_forward_training(context, params,
                                  {x.value, gamma.value, beta.value, shortcut.value, alpha.value,
                                   running_mean, running_var, y, mean, inverse_std},
                                  workspace);
  Variable result = tape.result(y, x.slot >= 0 || gamma.slot >= 0 || beta.slot >= 0 || shortcut.slot >= 0);
  if (result.slot >= 0) {
    const bool masks = epilogue == Epilogue::plain || epilogue == Epilogue::post;
    tape.record(BatchNormActNode{params, x.value, masks ? y : Tensor(), mean, inverse_std, gamma, beta, alpha,
                                 x.slot, gamma.slot, beta.slot, shortcut.slot, alpha.slot, result.slot});
  }
  return result;
}

Variable relu(Tape& tape, const Variable& x) {
  Variable y = tape.result(Tensor::empty(tape.context(), x.value.shape(), x.value.dtype()), x.slot >= 0);
  relu_forward(tape.context(), x.value, y.value);
  if (y.slot >= 0) tape.record(ReluNode{y.value, x.slot, y.slot});
  return y;
}

Variable residual(Tape& tape, ResidualForm form, const Variable& f, const Variable& shortcut,
                  const Variable& alpha) {
  const ResidualParams params{form, f.value.elements(), f.value.dtype()};
  Variable y = tape.result(Tensor::empty(tape.context(), f.value.shape(), params.dtype),
                           f.slot >= 0 || shortcut.slot >= 0 || alpha.slot >= 0);
  residual_forward(tape.context(), params, f.value, shortcut.value, alpha.value, y.value);
  if (y.slot >= 0) {
    const bool needs_f = form != ResidualForm::plain, needs_y = form != ResidualForm::authors;
    tape.record(ResidualNode{params, needs_f ? f.value : Tensor(), needs_y ? y.value : Tensor(), alpha,
                             f.slot, shortcut.slot, alpha.slot, y.slot});
  }
  return y;
}

Variable shortcut_a(Tape& tape, const Variable& x, std::int64_t channels) {
  require_rank(x, 4, "shortcut_a: x has four dimensions (N, H, W, C)");
  const Shape& shape = x.value.shape();
  const ShortcutAParams params{shape[0], shape[1], shape[2], shape[3], channels, x.value.dtype()};
  Variable y = tape.result(Tensor::empty(tape.context(), params.y_shape(), params.dtype), x.slot >= 0);
  shortcut_a_forward(tape.context(), params, x.value, y.value);
  if (y.slot >= 0) tape.record(ShortcutANode{params, x.slot, y.slot});
  return y;
}

Variable linear(Tape& tape, const Variable& x, const Variable& w, const Variable& bias) {
  require_rank(x, 2, "linear: x has two dimensions (N, C)");
  require_rank(w, 2, "linear: w has two dimensions (K, C)");
  const LinearParams params{x.value.shape()[0], x.value.shape()[1], w.value.shape()[0], x.value.dtype()};
  Context& context = tape.context();
  Variable y = tape.result(Tensor::empty(context, {params.n, params.k}, params.dtype),
                           x.slot >= 0 || w.slot >= 0 || bias.slot >= 0);
  linear_forward(context, params, x.value, w.value, bias.value, y.value,
                 context.scratch(linear_workspace(context, params)));
  if (y.slot >= 0) tape.record(LinearNode{params, x.value, w, x.slot, w.slot, bias.slot, y.slot});
  return y;
}

Variable global_avg_pool(Tape& tape, const Variable& x) {
  require_rank(x, 4, "global_avg_pool: x has four dimensions (N, H, W, C)");
  const Shape& shape = x.value.shape();
  const AvgPoolParams params{shape[0], shape[1], shape[2], shape[3], x.value.dtype()};
  Variable y = tape.result(Tensor::empty(tape.context(), {params.n, params.c}, params.dtype), x.slot >= 0);
  avg_pool_forward(tape.context(), params, x.value, y.value);
  if (y.slot >= 0) tape.record(AvgPoolNode{params, x.slot, y.slot});
  return y;
}

Variable max_pool(Tape& tape, const Variable& x, std::int64_t window, std::int64_t stride,
                  std::int64_t padding) {
  require_rank(x, 4, "max_pool: x has four dimensions (N, H, W, C)");
  const Shape& shape = x.value.shape();
  const MaxPoolParams params{shape[0], shape[1], shape[2], shape[3],
                             window,   stride,   padding,  x.value.dtype()};
  Context& context = tape.context();
  Variable y = tape.result(Tensor::empty(context, params.y_shape(), params.dtype), x.slot >= 0);
  const Tensor winner = Tensor::empty(context, params.y_shape(), DType::u8);
  max_pool_forward(context, params, x.value, y.value, winner);
  if (y.slot >= 0) tape.record(MaxPoolNode{params, winner, x.slot, y.slot});
  return y;
}

Loss softmax_cross_entropy(Tape& tape, const Variable& logits, const Tensor& labels, double smoothing,
                           const Tensor& metrics) {
  require_rank(logits, 2, "softmax_cross_entropy: logits have two dimensions (N, K)");
  const SoftmaxCrossEntropyParams params{logits.value.shape()[0], logits.value.shape()[1], smoothing,
                                         logits.value.dtype()};
  Context& context = tape.context();
  const DType dtype = statistics_dtype(params.dtype);
  Loss result{tape.result(Tensor::empty(context, {1}, dtype), logits.slot >= 0),
              Tensor::empty(context, {params.n}, dtype), Tensor::empty(context, {params.n}, DType::i32)};
  softmax_cross_entropy_forward(context, params, logits.value, labels, result.loss.value, result.row_losses,
                                result.predictions, metrics);
  if (result.loss.slot >= 0)
    tape.record(SoftmaxCrossEntropyNode{params, logits.value, labels, logits.slot, result.loss.slot});
  return result;
}

}  // namespace zeroth
