// The composition of the plain references: batch norm with ReLU, convolution, moments.

#include "kernels/batch_norm_act/batch_norm_act.h"
#include "kernels/conv2d_stats/conv2d_stats.h"
#include "kernels/core/workspace_cutter.h"

namespace zeroth::reference {

namespace {

bool supports(const Conv2dStatsParams& params) {
  return params.dtype == DType::f64 || params.dtype == DType::f32;
}

/// How batch norm sees x.
BatchNormActParams normalisation(const Conv2dStatsParams& params) {
  BatchNormActParams result;
  result.rows = params.n * params.h * params.w;
  result.channels = params.c;
  result.eps = params.eps;
  result.dtype = params.dtype;
  return result;
}

std::size_t input_bytes(const Conv2dStatsParams& params) {
  return static_cast<std::size_t>(params.x_shape().elements()) * size_of(params.dtype);
}

std::size_t workspace(Context& context, const Conv2dStatsParams& params) {
  if (params.prologue == Prologue::none) return 0;
  return WorkspaceCutter::padded(input_bytes(params)) +
         WorkspaceCutter::padded(batch_norm_act_row.workspace(context, normalisation(params)));
}

void forward(Context& context, const Conv2dStatsParams& params, const Conv2dStatsOperands& o,
             Workspace workspace) {
  ConstTensorView u = o.x;
  if (params.prologue == Prologue::batch_norm_relu) {
    WorkspaceCutter cutter(workspace);
    const TensorView normalised{cutter.take(input_bytes(params)), params.x_shape(), params.dtype};
    const std::size_t bytes = batch_norm_act_row.workspace(context, normalisation(params));
    batch_norm_act_row.forward_inference(context, normalisation(params),
                                         {.x = o.x,
                                          .gamma = o.gamma,
                                          .beta = o.beta,
                                          .shortcut = {},
                                          .alpha = {},
                                          .running_mean = o.x_mean,
                                          .running_var = o.x_variance,
                                          .y = normalised},
                                         {cutter.take(bytes), bytes});
    u = normalised;
  }
  conv2d_row.forward(context, params, u, o.w, o.y, {});
  dispatch_reference(params.dtype, [&]<class T>(TypeTag<T>) {
    const T* y = o.y.as<T>();
    const std::int64_t elements = params.y_shape().elements();
    const auto rows = static_cast<double>(elements / params.k);
    for (std::int64_t k = 0; k < params.k; ++k) {
      double sum = 0.0, squares = 0.0;
      for (std::int64_t i = k; i < elements; i += params.k) sum += static_cast<double>(y[i]);
      const double mean = sum / rows;
      for (std::int64_t i = k; i < elements; i += params.k) {
        const double deviation = static_cast<double>(y[i]) - mean;
        squares += deviation * deviation;
      }
      o.mean.as<T>()[k] = static_cast<T>(mean);
      o.variance.as<T>()[k] = static_cast<T>(squares / rows);
    }
  });
}

}  // namespace

const Conv2dStatsRow conv2d_stats_row{{"reference", DeviceKind::cpu, true}, supports, workspace, forward};

}  // namespace zeroth::reference
