// Batch norm on the CPU. Rows are cut into pieces whose size depends on the problem alone, so that neither
// statistics nor gradients depend on the number of threads. A piece fits the cache: its mean and its squared
// deviations take one read of memory, and the pieces are merged in double precision (Chan, Golub and LeVeque,
// 1979).

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/core/parallel.h"

namespace zeroth::cpu {

namespace {

constexpr std::int64_t kLane = 16;             // channels worked on together: one cache line of f32
constexpr std::int64_t kPieceElements = 8192;  // 32 KB of f32

std::int64_t rows_in_piece(const BatchNormParams& params) {
  return std::max<std::int64_t>(16, kPieceElements / params.channels / 4 * 4);
}

std::int64_t pieces(const BatchNormParams& params) {
  const std::int64_t rows = rows_in_piece(params);
  return (params.rows + rows - 1) / rows;
}

/// Two sums for each channel of each piece: (pieces, 2, C) floats.
std::size_t workspace(Context&, const BatchNormParams& params) {
  return static_cast<std::size_t>(pieces(params) * 2 * params.channels) * sizeof(float);
}

bool supports(const BatchNormParams& params) {
  return params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16;
}

/// Adds value(row, channel) over rows [begin, end) into sums of `width` <= kLane channels. Four running sums
/// a channel keep the additions independent of one another and the rounding error small.
template <bool kFull, class Value>
void sum_lane(std::int64_t begin, std::int64_t end, std::int64_t width, Value&& value, float* sums) {
  const std::int64_t count = kFull ? kLane : width;
  float partial[4][kLane] = {};
  std::int64_t row = begin;
  for (; row + 4 <= end; row += 4)
    for (int part = 0; part < 4; ++part)
      for (std::int64_t c = 0; c < count; ++c) partial[part][c] += value(row + part, c);
  for (; row < end; ++row)
    for (std::int64_t c = 0; c < count; ++c) partial[0][c] += value(row, c);
  for (std::int64_t c = 0; c < count; ++c)
    sums[c] = (partial[0][c] + partial[1][c]) + (partial[2][c] + partial[3][c]);
}

/// Calls body.template operator()<full>(first channel, channels) for each lane of channels.
template <class Body>
void for_each_lane(std::int64_t channels, Body&& body) {
  std::int64_t c = 0;
  for (; c + kLane <= channels; c += kLane) body.template operator()<true>(c, kLane);
  if (c < channels) body.template operator()<false>(c, channels - c);
}

/// For each piece of rows: its mean and its sum of squared deviations from it, channel by channel.
template <class T>
void piece_moments(const BatchNormParams& params, const T* x, float* moments) {
  const std::int64_t channels = params.channels, step = rows_in_piece(params);
  parallel_for(pieces(params), step * channels, [=, &params](std::int64_t first, std::int64_t last) {
    for (std::int64_t piece = first; piece < last; ++piece) {
      const std::int64_t begin = piece * step, end = std::min(begin + step, params.rows);
      for_each_lane(channels, [&]<bool kFull>(std::int64_t c0, std::int64_t width) {
        float *mean = moments + (piece * 2) * channels + c0, *m2 = mean + channels;
        const T* from = x + c0;
        float sums[kLane];
        sum_lane<kFull>(
            begin, end, width,
            [=](std::int64_t row, std::int64_t c) { return to_compute(from[row * channels + c]); }, sums);
        float center[kLane];
        for (std::int64_t c = 0; c < width; ++c)
          center[c] = mean[c] = sums[c] / static_cast<float>(end - begin);
        sum_lane<kFull>(
            begin, end, width,
            [=, &center](std::int64_t row, std::int64_t c) {
              const float deviation = to_compute(from[row * channels + c]) - center[c];
              return deviation * deviation;
            },
            sums);
        for (std::int64_t c = 0; c < width; ++c) m2[c] = sums[c];
      });
    }
  });
}

struct Moments {
  double mean, m2;
};

/// The moments of channel c over all rows, from those of the pieces in their order.
Moments merged_moments(const BatchNormParams& params, const float* moments, std::int64_t c) {
  const std::int64_t step = rows_in_piece(params);
  double count = 0.0;
  Moments all{0.0, 0.0};
  for (std::int64_t piece = 0; piece < pieces(params); ++piece) {
    const double mean = moments[piece * 2 * params.channels + c],
                 m2 = moments[(piece * 2 + 1) * params.channels + c];
    const double added = static_cast<double>(std::min(step, params.rows - piece * step)),
                 delta = mean - all.mean;
    count += added;
    all.mean += delta * added / count;
    all.m2 += m2 + delta * delta * (count - added) * added / count;
  }
  return all;
}

/// y = (x - mean) * scale + beta, channel by channel.
template <class T>
void normalise(const BatchNormParams& params, const T* x, const float* mean, const float* scale,
               const float* beta, T* y) {
  const std::int64_t channels = params.channels;
  parallel_for(params.rows, channels, [=](std::int64_t begin, std::int64_t end) {
    for_each_lane(channels, [&]<bool kFull>(std::int64_t c0, std::int64_t width) {
      const std::int64_t count = kFull ? kLane : width;
      float m[kLane], s[kLane], b[kLane];
      for (std::int64_t c = 0; c < count; ++c) m[c] = mean[c0 + c], s[c] = scale[c0 + c], b[c] = beta[c0 + c];
      for (std::int64_t row = begin; row < end; ++row) {
        const T* from = x + row * channels + c0;
        T* to = y + row * channels + c0;
        for (std::int64_t c = 0; c < count; ++c)
          to[c] = from_compute<T>((to_compute(from[c]) - m[c]) * s[c] + b[c]);
      }
    });
  });
}

void forward_training(Context&, const BatchNormParams& params, ConstTensorView x, ConstTensorView gamma_view,
                      ConstTensorView beta, TensorView running_mean_view, TensorView running_var_view,
                      TensorView y, TensorView mean_view, TensorView inverse_std_view, Workspace workspace) {
  auto* moments = static_cast<float*>(workspace.data);
  const float* gamma = gamma_view.as<float>();
  float *mean = mean_view.as<float>(), *inverse_std = inverse_std_view.as<float>();
  float *running_mean = running_mean_view.as<float>(), *running_var = running_var_view.as<float>();
  std::vector<float> scale(static_cast<std::size_t>(params.channels));
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    piece_moments(params, x.as<T>(), moments);
    const auto count = static_cast<double>(params.rows);
    for (std::int64_t c = 0; c < params.channels; ++c) {
      const Moments all = merged_moments(params, moments, c);
      const double deviation_inverse = 1.0 / std::sqrt(all.m2 / count + params.eps);
      mean[c] = static_cast<float>(all.mean);
      inverse_std[c] = static_cast<float>(deviation_inverse);
      scale[static_cast<std::size_t>(c)] = static_cast<float>(deviation_inverse * gamma[c]);
      running_mean[c] =
          static_cast<float>((1.0 - params.momentum) * running_mean[c] + params.momentum * all.mean);
      running_var[c] = static_cast<float>((1.0 - params.momentum) * running_var[c] +
                                          params.momentum * all.m2 / (count - 1.0));
    }
    normalise(params, x.as<T>(), mean, scale.data(), beta.as<float>(), y.as<T>());
  });
}

void forward_inference(Context&, const BatchNormParams& params, ConstTensorView x, ConstTensorView gamma,
                       ConstTensorView beta, ConstTensorView running_mean, ConstTensorView running_var,
                       TensorView y, Workspace) {
  std::vector<float> scale(static_cast<std::size_t>(params.channels));
  for (std::int64_t c = 0; c < params.channels; ++c)
    scale[static_cast<std::size_t>(c)] =
        static_cast<float>(gamma.as<float>()[c] / std::sqrt(double{running_var.as<float>()[c]} + params.eps));
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
        float m[kLane], s[kLane], result[kLane];
        for (std::int64_t c = 0; c < width; ++c) m[c] = mean[c0 + c], s[c] = inverse_std[c0 + c];
        float* out = sums + piece * 2 * channels + c0;
        sum_lane<kFull>(
            begin, end, width,
            [=](std::int64_t row, std::int64_t c) { return to_compute(dy0[row * channels + c]); }, result);
        for (std::int64_t c = 0; c < width; ++c) out[c] = result[c];
        sum_lane<kFull>(
            begin, end, width,
            [=, &m, &s](std::int64_t row, std::int64_t c) {
              const std::int64_t i = row * channels + c;
              return to_compute(dy0[i]) * ((to_compute(x0[i]) - m[c]) * s[c]);
            },
            result);
        for (std::int64_t c = 0; c < width; ++c) out[channels + c] = result[c];
      });
    }
  });
}

/// Per channel: dx = a * dy - b - (x - mean) * k.
struct Coefficients {
  std::vector<float> a, b, k;
  explicit Coefficients(std::int64_t channels)
      : a(static_cast<std::size_t>(channels)), b(a.size()), k(a.size()) {}
};

template <class T, bool kAccumulate>
void write_dx(const BatchNormParams& params, const T* dy, const T* x, const float* mean,
              const Coefficients& f, T* dx) {
  const std::int64_t channels = params.channels;
  parallel_for(params.rows, 2 * channels, [=, &f](std::int64_t begin, std::int64_t end) {
    for_each_lane(channels, [&]<bool kFull>(std::int64_t c0, std::int64_t width) {
      const std::int64_t count = kFull ? kLane : width;
      float m[kLane], a[kLane], b[kLane], k[kLane];
      for (std::int64_t c = 0; c < count; ++c) {
        const auto i = static_cast<std::size_t>(c0 + c);
        m[c] = mean[i], a[c] = f.a[i], b[c] = f.b[i], k[c] = f.k[i];
      }
      for (std::int64_t row = begin; row < end; ++row) {
        const T *from = dy + row * channels + c0, *at = x + row * channels + c0;
        T* to = dx + row * channels + c0;
        for (std::int64_t c = 0; c < count; ++c) {
          const float gradient = a[c] * to_compute(from[c]) - b[c] - (to_compute(at[c]) - m[c]) * k[c];
          to[c] = from_compute<T>(kAccumulate ? to_compute(to[c]) + gradient : gradient);
        }
      }
    });
  });
}

void backward(Context&, const BatchNormParams& params, ConstTensorView dy, ConstTensorView x,
              ConstTensorView gamma, ConstTensorView mean_view, ConstTensorView inverse_std_view,
              TensorView dx, GradMode dx_mode, TensorView dgamma_view, TensorView dbeta_view,
              GradMode parameter_mode, Workspace workspace) {
  auto* sums = static_cast<float*>(workspace.data);
  const float *mean = mean_view.as<float>(), *inverse_std = inverse_std_view.as<float>();
  Coefficients coefficients(params.channels);
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    piece_gradients(params, dy.as<T>(), x.as<T>(), mean, inverse_std, sums);
    const auto count = static_cast<double>(params.rows);
    for (std::int64_t c = 0; c < params.channels; ++c) {
      double sum = 0.0, sum_x_hat = 0.0;
      for (std::int64_t piece = 0; piece < pieces(params); ++piece) {
        sum += sums[piece * 2 * params.channels + c];
        sum_x_hat += sums[(piece * 2 + 1) * params.channels + c];
      }
      if (parameter_mode != GradMode::skip) {
        const bool accumulate = parameter_mode == GradMode::accumulate;
        float &dgamma = dgamma_view.as<float>()[c], &dbeta = dbeta_view.as<float>()[c];
        dgamma = static_cast<float>(accumulate ? dgamma + sum_x_hat : sum_x_hat);
        dbeta = static_cast<float>(accumulate ? dbeta + sum : sum);
      }
      const double scale = double{gamma.as<float>()[c]} * inverse_std[c];
      const auto i = static_cast<std::size_t>(c);
      coefficients.a[i] = static_cast<float>(scale);
      coefficients.b[i] = static_cast<float>(scale * sum / count);
      coefficients.k[i] = static_cast<float>(scale * inverse_std[c] * sum_x_hat / count);
    }
    if (dx_mode == GradMode::accumulate)
      write_dx<T, true>(params, dy.as<T>(), x.as<T>(), mean, coefficients, dx.as<T>());
    else if (dx_mode == GradMode::overwrite)
      write_dx<T, false>(params, dy.as<T>(), x.as<T>(), mean, coefficients, dx.as<T>());
  });
}

}  // namespace

const BatchNormRow batch_norm_row{
    {"cpu", DeviceKind::cpu, true}, supports, workspace, forward_training, forward_inference, backward};

}  // namespace zeroth::cpu
