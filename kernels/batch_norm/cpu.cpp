// Batch norm on the CPU. Rows are cut into pieces whose size depends on the problem alone, so that neither
// statistics nor gradients depend on the number of threads. A piece fits the first cache: its mean and its
// squared deviations take one read of memory. Sums run in f32 inside a piece, four a channel, and in f64 over
// pieces. Channels are worked on sixteen at a time, in vectors the compiler keeps in registers.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/core/parallel.h"

namespace zeroth::cpu {

namespace {

constexpr std::int64_t kLane = 16;             // channels worked on together: one cache line of f32
constexpr std::int64_t kPieceElements = 4096;  // 16 KB of f32
constexpr int kParts = 4;  // sums a channel, so that additions need not wait for each other

/// Values of sixteen channels. Functions take it by reference: by value its calling convention depends on the
/// instruction set.
using Lane = float __attribute__((vector_size(kLane * sizeof(float))));

template <bool kFull, class T>
inline void load(const T* from, std::int64_t width, Lane& lane) {
  if constexpr (kFull && std::is_same_v<T, float>) {
    std::memcpy(&lane, from, sizeof(Lane));
  } else {
    float values[kLane] = {};
    for (std::int64_t c = 0; c < (kFull ? kLane : width); ++c) values[c] = to_compute(from[c]);
    std::memcpy(&lane, values, sizeof(Lane));
  }
}

template <bool kFull, class T>
inline void store(const Lane& lane, std::int64_t width, T* to) {
  if constexpr (kFull && std::is_same_v<T, float>) {
    std::memcpy(to, &lane, sizeof(Lane));
  } else {
    float values[kLane];
    std::memcpy(values, &lane, sizeof(Lane));
    for (std::int64_t c = 0; c < (kFull ? kLane : width); ++c) to[c] = from_compute<T>(values[c]);
  }
}

std::int64_t rows_in_piece(const BatchNormParams& params) {
  return std::max<std::int64_t>(16, kPieceElements / params.channels / kParts * kParts);
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

/// Calls add(row, sum) for rows [begin, end), with kParts sums in turn, and adds those up. A Sum is a struct
/// of lanes that starts at zero.
template <class Sum, class Add>
inline void sum_rows(std::int64_t begin, std::int64_t end, Sum& total, Add&& add) {
  Sum parts[kParts] = {};
  std::int64_t row = begin;
  for (; row + kParts <= end; row += kParts) {
#pragma GCC unroll 4
    for (int part = 0; part < kParts; ++part) add(row + part, parts[part]);
  }
  for (; row < end; ++row) add(row, parts[0]);
  parts[0].join(parts[1]);
  parts[2].join(parts[3]);
  parts[0].join(parts[2]);
  total = parts[0];
}

struct OneSum {
  Lane a;
  void join(const OneSum& other) { a += other.a; }
};
struct TwoSums {
  Lane a, b;
  void join(const TwoSums& other) { a += other.a, b += other.b; }
};

/// Calls body.operator()<full>(first channel, channels) for each lane of channels.
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
        float* to = moments + piece * 2 * channels + c0;
        const T* from = x + c0;
        OneSum sum, m2;
        sum_rows(begin, end, sum, [=](std::int64_t row, OneSum& part) {
          Lane value;
          load<kFull>(from + row * channels, width, value);
          part.a += value;
        });
        const Lane mean = sum.a / static_cast<float>(end - begin);
        sum_rows(begin, end, m2, [=, &mean](std::int64_t row, OneSum& part) {
          Lane value;
          load<kFull>(from + row * channels, width, value);
          value -= mean;
          part.a += value * value;
        });
        store<kFull>(mean, width, to);
        store<kFull>(m2.a, width, to + channels);
      });
    }
  });
}

/// Values of all channels, in f64.
using Channels = std::vector<double>;

/// The mean and the sum of squared deviations of all rows from those of the pieces: first the mean, then the
/// pieces' deviations from it.
struct Moments {
  Channels mean, m2;

  Moments(const BatchNormParams& params, const float* moments)
      : mean(static_cast<std::size_t>(params.channels)), m2(mean.size()) {
    const std::int64_t step = rows_in_piece(params);
    const std::size_t channels = mean.size();
    const auto rows_of = [&](std::int64_t piece) {
      return static_cast<double>(std::min(step, params.rows - piece * step));
    };
    for (std::int64_t piece = 0; piece < pieces(params); ++piece) {
      const float* means = moments + piece * 2 * params.channels;
      const double rows = rows_of(piece);
      for (std::size_t c = 0; c < channels; ++c) mean[c] += rows * means[c];
    }
    for (double& value : mean) value /= static_cast<double>(params.rows);
    for (std::int64_t piece = 0; piece < pieces(params); ++piece) {
      const float *means = moments + piece * 2 * params.channels, *m2s = means + params.channels;
      const double rows = rows_of(piece);
      for (std::size_t c = 0; c < channels; ++c) {
        const double delta = means[c] - mean[c];
        m2[c] += m2s[c] + rows * delta * delta;
      }
    }
  }
};

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
    const Moments all(params, moments);
    for (std::size_t c = 0; c < scale.size(); ++c) {
      const double deviation_inverse = 1.0 / std::sqrt(all.m2[c] / count + params.eps);
      mean[c] = static_cast<float>(all.mean[c]);
      inverse_std[c] = static_cast<float>(deviation_inverse);
      scale[c] = static_cast<float>(deviation_inverse * gamma[c]);
      const auto run = [&](float& running, double value) {
        running = static_cast<float>((1.0 - params.momentum) * running + params.momentum * value);
      };
      run(running_mean[c], all.mean[c]);
      run(running_var[c], all.m2[c] / (count - 1.0));
    }
    normalise(params, x.as<T>(), mean, scale.data(), beta.as<float>(), y.as<T>());
  });
}

void forward_inference(Context&, const BatchNormParams& params, ConstTensorView x, ConstTensorView gamma,
                       ConstTensorView beta, ConstTensorView running_mean, ConstTensorView running_var,
                       TensorView y, Workspace) {
  std::vector<float> scale(static_cast<std::size_t>(params.channels));
  for (std::size_t c = 0; c < scale.size(); ++c)
    scale[c] =
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

/// Per channel: dx = a * dy - b - (x - mean) * k.
struct Coefficients {
  std::vector<float> a, b, k;
  explicit Coefficients(std::size_t channels) : a(channels), b(channels), k(channels) {}
};

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

void backward(Context&, const BatchNormParams& params, ConstTensorView dy, ConstTensorView x,
              ConstTensorView gamma, ConstTensorView mean_view, ConstTensorView inverse_std_view,
              TensorView dx, GradMode dx_mode, TensorView dgamma_view, TensorView dbeta_view,
              GradMode parameter_mode, Workspace workspace) {
  auto* sums = static_cast<float*>(workspace.data);
  const float *mean = mean_view.as<float>(), *inverse_std = inverse_std_view.as<float>();
  const auto channels = static_cast<std::size_t>(params.channels);
  Coefficients coefficients(channels);
  Channels sum(channels), sum_x_hat(channels);
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    piece_gradients(params, dy.as<T>(), x.as<T>(), mean, inverse_std, sums);
    for (std::int64_t piece = 0; piece < pieces(params); ++piece) {
      const float *first = sums + piece * 2 * params.channels, *second = first + params.channels;
      for (std::size_t c = 0; c < channels; ++c) sum[c] += first[c], sum_x_hat[c] += second[c];
    }
    const auto count = static_cast<double>(params.rows);
    for (std::size_t c = 0; c < channels; ++c) {
      if (parameter_mode != GradMode::skip) {
        const bool accumulate = parameter_mode == GradMode::accumulate;
        float &dgamma = dgamma_view.as<float>()[c], &dbeta = dbeta_view.as<float>()[c];
        dgamma = static_cast<float>(accumulate ? dgamma + sum_x_hat[c] : sum_x_hat[c]);
        dbeta = static_cast<float>(accumulate ? dbeta + sum[c] : sum[c]);
      }
      const double scale = double{gamma.as<float>()[c]} * inverse_std[c];
      coefficients.a[c] = static_cast<float>(scale);
      coefficients.b[c] = static_cast<float>(scale * sum[c] / count);
      coefficients.k[c] = static_cast<float>(scale * inverse_std[c] * sum_x_hat[c] / count);
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
