#include <cmath>

#include "kernels/batch_norm/batch_norm.h"

namespace zeroth::reference {

namespace {

bool supports(const BatchNormParams& params) {
  return params.dtype == DType::f64 || params.dtype == DType::f32;
}

std::size_t workspace(Context&, const BatchNormParams&) {
  return 0;
}

/// Mean and sum of squared deviations of each channel over all ranks, (2, C).
std::vector<double> moments_of_all_ranks(Context& context, const BatchNormParams& params,
                                         const std::vector<double>& own) {
  const std::vector<double> all = gather_on_host(context, params.group, own);
  if (all.size() == own.size()) return all;
  const auto channels = static_cast<std::size_t>(params.channels);
  const std::size_t ranks = all.size() / own.size();
  std::vector<double> joined(own.size());
  for (std::size_t c = 0; c < channels; ++c) {
    double mean = 0.0, m2 = 0.0;
    for (std::size_t r = 0; r < ranks; ++r) mean += all[2 * r * channels + c] / static_cast<double>(ranks);
    for (std::size_t r = 0; r < ranks; ++r) {
      const double delta = all[2 * r * channels + c] - mean;
      m2 += all[(2 * r + 1) * channels + c] + static_cast<double>(params.rows) * delta * delta;
    }
    joined[c] = mean;
    joined[channels + c] = m2;
  }
  return joined;
}

void forward_training(Context& context, const BatchNormParams& params, ConstTensorView x_view,
                      ConstTensorView gamma_view, ConstTensorView beta_view, TensorView running_mean,
                      TensorView running_var, TensorView y_view, TensorView mean_view,
                      TensorView inverse_std_view, Workspace) {
  dispatch_reference(params.dtype, [&]<class T>(TypeTag<T>) {
    const T *x = x_view.as<T>(), *gamma = gamma_view.as<T>(), *beta = beta_view.as<T>();
    T *y = y_view.as<T>(), *mean_out = mean_view.as<T>(), *inverse_std_out = inverse_std_view.as<T>();
    const std::int64_t rows = params.rows, channels = params.channels;
    std::vector<double> own(static_cast<std::size_t>(2 * channels));
    for (std::int64_t c = 0; c < channels; ++c) {
      T mean{}, deviations{};
      for (std::int64_t row = 0; row < rows; ++row) mean += x[row * channels + c];
      mean /= static_cast<T>(rows);
      for (std::int64_t row = 0; row < rows; ++row) {
        const T deviation = x[row * channels + c] - mean;
        deviations += deviation * deviation;
      }
      own[static_cast<std::size_t>(c)] = static_cast<double>(mean);
      own[static_cast<std::size_t>(channels + c)] = static_cast<double>(deviations);
    }
    const std::vector<double> moments = moments_of_all_ranks(context, params, own);
    const T count = static_cast<T>(params.rows_of_all_ranks()), momentum = static_cast<T>(params.momentum);
    for (std::int64_t c = 0; c < channels; ++c) {
      const T mean = static_cast<T>(moments[static_cast<std::size_t>(c)]),
              deviations = static_cast<T>(moments[static_cast<std::size_t>(channels + c)]);
      const T inverse_std = T{1} / std::sqrt(deviations / count + static_cast<T>(params.eps));
      for (std::int64_t row = 0; row < rows; ++row)
        y[row * channels + c] = (x[row * channels + c] - mean) * inverse_std * gamma[c] + beta[c];
      mean_out[c] = mean;
      inverse_std_out[c] = inverse_std;
      T &rm = running_mean.as<T>()[c], &rv = running_var.as<T>()[c];
      rm = (T{1} - momentum) * rm + momentum * mean;
      rv = (T{1} - momentum) * rv + momentum * (deviations / (count - T{1}));
    }
  });
}

void forward_inference(Context&, const BatchNormParams& params, ConstTensorView x_view,
                       ConstTensorView gamma_view, ConstTensorView beta_view, ConstTensorView running_mean,
                       ConstTensorView running_var, TensorView y_view, Workspace) {
  dispatch_reference(params.dtype, [&]<class T>(TypeTag<T>) {
    const T *x = x_view.as<T>(), *gamma = gamma_view.as<T>(), *beta = beta_view.as<T>();
    const T *mean = running_mean.as<T>(), *var = running_var.as<T>();
    T* y = y_view.as<T>();
    for (std::int64_t row = 0; row < params.rows; ++row)
      for (std::int64_t c = 0; c < params.channels; ++c) {
        const std::int64_t i = row * params.channels + c;
        y[i] = (x[i] - mean[c]) / std::sqrt(var[c] + static_cast<T>(params.eps)) * gamma[c] + beta[c];
      }
  });
}

void backward(Context& context, const BatchNormParams& params, ConstTensorView dy_view,
              ConstTensorView x_view, ConstTensorView gamma_view, ConstTensorView mean_view,
              ConstTensorView inverse_std_view, TensorView dx_view, GradMode dx_mode, TensorView dgamma_view,
              TensorView dbeta_view, GradMode parameter_mode, Workspace) {
  dispatch_reference(params.dtype, [&]<class T>(TypeTag<T>) {
    const T *dy = dy_view.as<T>(), *x = x_view.as<T>(), *gamma = gamma_view.as<T>();
    const T *mean = mean_view.as<T>(), *inverse_std = inverse_std_view.as<T>();
    T *dx = dx_view.as<T>(), *dgamma = dgamma_view.as<T>(), *dbeta = dbeta_view.as<T>();
    const std::int64_t rows = params.rows, channels = params.channels;
    const T count = static_cast<T>(params.rows_of_all_ranks());
    std::vector<double> own(static_cast<std::size_t>(2 * channels));
    for (std::int64_t c = 0; c < channels; ++c) {
      T sum{}, sum_x_hat{};
      for (std::int64_t row = 0; row < rows; ++row) {
        const std::int64_t i = row * channels + c;
        sum += dy[i];
        sum_x_hat += dy[i] * (x[i] - mean[c]) * inverse_std[c];
      }
      own[static_cast<std::size_t>(c)] = static_cast<double>(sum);
      own[static_cast<std::size_t>(channels + c)] = static_cast<double>(sum_x_hat);
      if (parameter_mode != GradMode::skip) {
        const bool accumulate = parameter_mode == GradMode::accumulate;
        dgamma[c] = accumulate ? dgamma[c] + sum_x_hat : sum_x_hat;
        dbeta[c] = accumulate ? dbeta[c] + sum : sum;
      }
    }
    if (dx_mode == GradMode::skip) return;
    const std::vector<double> all = gather_on_host(context, params.group, own);
    for (std::int64_t c = 0; c < channels; ++c) {
      T sum{}, sum_x_hat{};
      for (std::size_t at = static_cast<std::size_t>(c); at < all.size(); at += own.size()) {
        sum += static_cast<T>(all[at]);
        sum_x_hat += static_cast<T>(all[at + static_cast<std::size_t>(channels)]);
      }
      for (std::int64_t row = 0; row < rows; ++row) {
        const std::int64_t i = row * channels + c;
        const T x_hat = (x[i] - mean[c]) * inverse_std[c];
        const T gradient = gamma[c] * inverse_std[c] * (dy[i] - sum / count - x_hat * sum_x_hat / count);
        dx[i] = dx_mode == GradMode::accumulate ? dx[i] + gradient : gradient;
      }
    }
  });
}

}  // namespace

const BatchNormRow batch_norm_row{
    {"reference", DeviceKind::cpu, true}, supports, workspace, forward_training, forward_inference, backward};

}  // namespace zeroth::reference
