// Batch norm on the CPU; cpu_lanes.h says how.

#include "kernels/batch_norm/cpu_lanes.h"

namespace zeroth::cpu {

namespace {

/// Two sums for each channel of each piece: (pieces, 2, C) floats.
std::size_t workspace(Context&, const BatchNormParams& params) {
  return static_cast<std::size_t>(pieces(params) * 2 * params.channels) * sizeof(float);
}

bool supports(const BatchNormParams& params) {
  return params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16;
}

/// y = (x - mean) * scale + beta, channel by channel.
template <class T>
void normalise(const BatchNormParams& params, const T* x, const float* mean, const float* scale,
               const float* beta, T* y) {
  const std::int64_t channels = params.channels;
  parallel_for(params.rows, channels, [=](std::int64_t begin, std::int64_t end) {
    for_each_lane(channels, [&]<bool kFull>(std::int64_t c0, std::int64_t width) {
      Lane m, s, b;
      load<kFull>(mean + c0, width, m);
      load<kFull>(scale + c0, width, s);
      load<kFull>(beta + c0, width, b);
      for (std::int64_t at = begin * channels + c0; at < end * channels; at += channels) {
        Lane value;
        load<kFull>(x + at, width, value);
        value = (value - m) * s + b;
        store<kFull>(value, width, y + at);
      }
    });
  });
}

void forward_training(Context& context, const BatchNormParams& params, ConstTensorView x,
                      ConstTensorView gamma, ConstTensorView beta, TensorView running_mean,
                      TensorView running_var, TensorView y, TensorView mean, TensorView inverse_std,
                      Workspace workspace) {
  auto* moments = static_cast<float*>(workspace.data);
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    piece_moments(params, x.as<T>(), moments);
    const std::vector<float> scale =
        finish_moments(context, params, moments, gamma.as<float>(), mean.as<float>(), inverse_std.as<float>(),
                       running_mean.as<float>(), running_var.as<float>());
    normalise(params, x.as<T>(), mean.as<float>(), scale.data(), beta.as<float>(), y.as<T>());
  });
}

void forward_inference(Context&, const BatchNormParams& params, ConstTensorView x, ConstTensorView gamma,
                       ConstTensorView beta, ConstTensorView running_mean, ConstTensorView running_var,
                       TensorView y, Workspace) {
  const std::vector<float> scale = inference_scale(params, gamma.as<float>(), running_var.as<float>());
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    normalise(params, x.as<T>(), running_mean.as<float>(), scale.data(), beta.as<float>(), y.as<T>());
  });
}

/// For each piece of rows: the sums of dy and of dy * x_hat.
template <class T>
void piece_gradients(const BatchNormParams& params, const T* dy, const T* x, const float* mean,
                     const float* inverse_std, float* sums) {
  const std::int64_t channels = params.channels, step = rows_in_piece(params);
  parallel_for(pieces(params), 2 * step * channels, [=, &params](std::int64_t first, std::int64_t last) {
    for (std::int64_t piece = first; piece < last; ++piece) {
      const std::int64_t begin = piece * step, end = std::min(begin + step, params.rows);
      for_each_lane(channels, [&]<bool kFull>(std::int64_t c0, std::int64_t width) {
        const T *dy0 = dy + c0, *x0 = x + c0;
        Lane m, s;
        load<kFull>(mean + c0, width, m);
        load<kFull>(inverse_std + c0, width, s);
        TwoSums total;
        sum_rows(begin, end, total, [=, &m, &s](std::int64_t row, TwoSums& part) {
          Lane gradient, value;
          load<kFull>(dy0 + row * channels, width, gradient);
          load<kFull>(x0 + row * channels, width, value);
          part.a += gradient;
          part.b += gradient * ((value - m) * s);
        });
        float* to = sums + piece * 2 * channels + c0;
        store<kFull>(total.a, width, to);
        store<kFull>(total.b, width, to + channels);
      });
    }
  });
}

template <class T, bool kAccumulate>
void write_dx(const BatchNormParams& params, const T* dy, const T* x, const float* mean,
              const Coefficients& f, T* dx) {
  const std::int64_t channels = params.channels;
  parallel_for(params.rows, 2 * channels, [=, &f](std::int64_t begin, std::int64_t end) {
    for_each_lane(channels, [&]<bool kFull>(std::int64_t c0, std::int64_t width) {
      Lane m, a, b, k;
      load<kFull>(mean + c0, width, m);
      load<kFull>(f.a.data() + c0, width, a);
      load<kFull>(f.b.data() + c0, width, b);
      load<kFull>(f.k.data() + c0, width, k);
      for (std::int64_t at = begin * channels + c0; at < end * channels; at += channels) {
        Lane gradient, value;
        load<kFull>(dy + at, width, gradient);
        load<kFull>(x + at, width, value);
        gradient = a * gradient - b - (value - m) * k;
        if constexpr (kAccumulate) {
          load<kFull>(dx + at, width, value);
          gradient += value;
        }
        store<kFull>(gradient, width, dx + at);
      }
    });
  });
}

void backward(Context& context, const BatchNormParams& params, ConstTensorView dy, ConstTensorView x,
              ConstTensorView gamma, ConstTensorView mean_view, ConstTensorView inverse_std_view,
              TensorView dx, GradMode dx_mode, TensorView dgamma, TensorView dbeta, GradMode parameter_mode,
              Workspace workspace) {
  auto* pieces = static_cast<float*>(workspace.data);
  const float *mean = mean_view.as<float>(), *inverse_std = inverse_std_view.as<float>();
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    piece_gradients(params, dy.as<T>(), x.as<T>(), mean, inverse_std, pieces);
    const GradientSums sums(params, cpu::pieces(params), pieces);
    write_parameter_gradients(sums, 1.0, parameter_mode, dgamma.as<float>(), dbeta.as<float>());
    if (dx_mode == GradMode::skip) return;
    const Coefficients coefficients(params, sums.of_all_ranks(context, params), gamma.as<float>(),
                                    inverse_std, 1.0);
    if (dx_mode == GradMode::accumulate)
      write_dx<T, true>(params, dy.as<T>(), x.as<T>(), mean, coefficients, dx.as<T>());
    else
      write_dx<T, false>(params, dy.as<T>(), x.as<T>(), mean, coefficients, dx.as<T>());
  });
}

}  // namespace

const BatchNormRow batch_norm_row{
    {"cpu", DeviceKind::cpu, true}, supports, workspace, forward_training, forward_inference, backward};

}  // namespace zeroth::cpu
