// The composition of the plain references: batch norm, then ReLU or the residual join.

#include "kernels/batch_norm_act/batch_norm_act.h"
#include "kernels/relu/relu.h"
#include "kernels/residual/residual.h"

namespace zeroth::reference {

namespace {

bool supports(const BatchNormActParams& params) {
  return params.dtype == DType::f64 || params.dtype == DType::f32;
}

/// z, and in backward its gradient.
std::size_t workspace(Context&, const BatchNormActParams& params) {
  return 2 * static_cast<std::size_t>(params.rows * params.channels) * size_of(params.dtype);
}

/// Tensor number `index` of the workspace.
TensorView scratch(const BatchNormActParams& params, Workspace workspace, std::size_t index) {
  const Shape shape{params.rows, params.channels};
  auto* data = static_cast<std::byte*>(workspace.data) +
               index * static_cast<std::size_t>(shape.elements()) * size_of(params.dtype);
  return {data, shape, params.dtype};
}

ResidualParams join(const BatchNormActParams& params) {
  const ResidualForm form = params.epilogue == Epilogue::plain  ? ResidualForm::plain
                            : params.epilogue == Epilogue::post ? ResidualForm::post
                                                                : ResidualForm::authors;
  return {form, params.rows * params.channels, params.dtype};
}

template <class Operands>
void finish(Context& context, const BatchNormActParams& params, const Operands& o, TensorView z) {
  if (has_shortcut(params.epilogue))
    residual_row.forward(context, join(params), z, o.shortcut, o.alpha, o.y);
  else
    relu_row.forward(context, {params.rows * params.channels, params.dtype}, z, o.y);
}

void forward_training(Context& context, const BatchNormActParams& params, const BatchNormActTraining& o,
                      Workspace workspace) {
  const TensorView z = scratch(params, workspace, 0);
  batch_norm_row.forward_training(context, params, o.x, o.gamma, o.beta, o.running_mean, o.running_var, z,
                                  o.mean, o.inverse_std, {});
  finish(context, params, o, z);
}

void forward_inference(Context& context, const BatchNormActParams& params, const BatchNormActInference& o,
                       Workspace workspace) {
  const TensorView z = scratch(params, workspace, 0);
  batch_norm_row.forward_inference(context, params, o.x, o.gamma, o.beta, o.running_mean, o.running_var, z,
                                   {});
  finish(context, params, o, z);
}

template <class T>
void recompute(const BatchNormActParams& params, const BatchNormActGradients& o, T* z) {
  const T *x = o.x.as<T>(), *gamma = o.gamma.as<T>(), *beta = o.beta.as<T>(), *mean = o.mean.as<T>(),
          *inverse_std = o.inverse_std.as<T>();
  for (std::int64_t i = 0; i < params.rows * params.channels; ++i) {
    const std::int64_t c = i % params.channels;
    z[i] = (x[i] - mean[c]) * inverse_std[c] * gamma[c] + beta[c];
  }
}

void backward(Context& context, const BatchNormActParams& params, const BatchNormActGradients& o,
              Workspace workspace) {
  const TensorView z = scratch(params, workspace, 0), dz = scratch(params, workspace, 1);
  dispatch_reference(params.dtype, [&]<class T>(TypeTag<T>) { recompute<T>(params, o, z.as<T>()); });
  if (has_shortcut(params.epilogue))
    residual_row.backward(context, join(params), o.dy, z, o.y, o.alpha, dz, GradMode::overwrite, o.dshortcut,
                          o.dshortcut_mode, o.dalpha,
                          has_alpha(params.epilogue) ? o.dalpha_mode : GradMode::skip, {});
  else
    relu_row.backward(context, {params.rows * params.channels, params.dtype}, o.dy, z, dz,
                      GradMode::overwrite);
  batch_norm_row.backward(context, params, dz, o.x, o.gamma, o.mean, o.inverse_std, o.dx, o.dx_mode, o.dgamma,
                          o.dbeta, o.parameter_mode, {});
}

}  // namespace

const BatchNormActRow batch_norm_act_row{
    {"reference", DeviceKind::cpu, true}, supports, workspace, forward_training, forward_inference, backward};

}  // namespace zeroth::reference
