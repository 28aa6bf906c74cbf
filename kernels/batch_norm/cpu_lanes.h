#pragma once

// How batch norm, and what is fused with it, works on the CPU. Rows are cut into pieces whose size depends on
// the problem alone, so that neither statistics nor gradients depend on the number of threads. A piece fits
// the first cache: its mean and its squared deviations take one read of memory. Sums run in f32 inside a
// piece, four a channel, and in f64 over pieces. Channels are worked on sixteen at a time, in vectors that
// the compiler keeps in registers.

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/core/lane.h"
#include "kernels/core/parallel.h"

namespace zeroth::cpu {

inline constexpr std::int64_t kPieceElements = 4096;  // 16 KB of f32
inline constexpr int kParts = 4;  // sums a channel, so that additions need not wait for each other

inline std::int64_t rows_in_piece(const BatchNormParams& params) {
  return std::max<std::int64_t>(16, kPieceElements / params.channels / kParts * kParts);
}

inline std::int64_t pieces(const BatchNormParams& params) {
  const std::int64_t rows = rows_in_piece(params);
  return (params.rows + rows - 1) / rows;
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

/// Two values of each channel, in f64: (2, C).
using Channels = std::vector<double>;

/// The mean and the sum of squared deviations of all rows of `sets` sets of rows, such as pieces or ranks,
/// from those of each, (sets, 2, C): first the mean, then the deviations from it. rows_of(i) is the size of
/// set i.
template <class T, class RowsOf>
Channels join_moments(const BatchNormParams& params, std::int64_t sets, const T* moments, RowsOf&& rows_of) {
  const auto channels = static_cast<std::size_t>(params.channels);
  Channels joined(2 * channels);
  double *mean = joined.data(), *m2 = mean + channels, count = 0.0;
  for (std::int64_t set = 0; set < sets; ++set) {
    const T* means = moments + set * 2 * params.channels;
    const auto rows = static_cast<double>(rows_of(set));
    for (std::size_t c = 0; c < channels; ++c) mean[c] += rows * static_cast<double>(means[c]);
    count += rows;
  }
  for (std::size_t c = 0; c < channels; ++c) mean[c] /= count;
  for (std::int64_t set = 0; set < sets; ++set) {
    const T *means = moments + set * 2 * params.channels, *m2s = means + params.channels;
    const auto rows = static_cast<double>(rows_of(set));
    for (std::size_t c = 0; c < channels; ++c) {
      const double delta = static_cast<double>(means[c]) - mean[c];
      m2[c] += static_cast<double>(m2s[c]) + rows * delta * delta;
    }
  }
  return joined;
}

/// The mean and the sum of squared deviations over the rows of all ranks, from those of this rank's pieces.
inline Channels moments_of_all_ranks(Context& context, const BatchNormParams& params,
                                     const float* pieces_of_rank) {
  const std::int64_t step = rows_in_piece(params);
  Channels own = join_moments(params, pieces(params), pieces_of_rank,
                              [&](std::int64_t piece) { return std::min(step, params.rows - piece * step); });
  if (params.group == nullptr) return own;
  const Channels all = gather_on_host(context, params.group, std::move(own));
  return join_moments(params, params.group->size(), all.data(), [&](std::int64_t) { return params.rows; });
}

/// Writes mean and inverse_std and moves the running moments, all (C); returns inverse_std * gamma.
inline std::vector<float> finish_moments(Context& context, const BatchNormParams& params,
                                         const float* moments, const float* gamma, float* mean,
                                         float* inverse_std, float* running_mean, float* running_var) {
  const auto count = static_cast<double>(params.rows_of_all_ranks());
  const Channels all = moments_of_all_ranks(context, params, moments);
  std::vector<float> scale(static_cast<std::size_t>(params.channels));
  const double *means = all.data(), *m2s = means + scale.size();
  for (std::size_t c = 0; c < scale.size(); ++c) {
    const double deviation_inverse = 1.0 / std::sqrt(m2s[c] / count + params.eps);
    mean[c] = static_cast<float>(means[c]);
    inverse_std[c] = static_cast<float>(deviation_inverse);
    scale[c] = static_cast<float>(deviation_inverse * gamma[c]);
    const auto run = [&](float& running, double value) {
      running = static_cast<float>((1.0 - params.momentum) * running + params.momentum * value);
    };
    run(running_mean[c], means[c]);
    run(running_var[c], m2s[c] / (count - 1.0));
  }
  return scale;
}

/// gamma / sqrt(var + eps)
inline std::vector<float> inference_scale(const BatchNormParams& params, const float* gamma,
                                          const float* running_var) {
  std::vector<float> scale(static_cast<std::size_t>(params.channels));
  for (std::size_t c = 0; c < scale.size(); ++c)
    scale[c] = static_cast<float>(gamma[c] / std::sqrt(double{running_var[c]} + params.eps));
  return scale;
}

/// Sums of the gradient g behind the normalisation, (C), and of g * x_hat, (C): over the rows of sets of
/// rows, such as pieces or ranks, from those of each, (sets, 2, C).
struct GradientSums {
  Channels values;

  template <class T>
  GradientSums(const BatchNormParams& params, std::int64_t sets, const T* sums)
      : values(static_cast<std::size_t>(2 * params.channels)) {
    for (std::int64_t set = 0; set < sets; ++set)
      for (std::size_t i = 0; i < values.size(); ++i)
        values[i] += static_cast<double>(sums[static_cast<std::size_t>(set) * values.size() + i]);
  }
  std::size_t channels() const { return values.size() / 2; }
  double sum(std::size_t c) const { return values[c]; }
  double sum_x_hat(std::size_t c) const { return values[channels() + c]; }

  /// Over the rows of all ranks.
  GradientSums of_all_ranks(Context& context, const BatchNormParams& params) const {
    if (params.group == nullptr) return *this;
    return {params, params.group->size(), gather_on_host(context, params.group, values).data()};
  }
};

/// Per channel: dx = a * g - b - (x - mean) * k, where `factor` * g is the gradient behind the normalisation.
struct Coefficients {
  std::vector<float> a, b, k;

  /// `sums` are those of all ranks.
  Coefficients(const BatchNormParams& params, const GradientSums& sums, const float* gamma,
               const float* inverse_std, double factor)
      : a(sums.channels()), b(a.size()), k(a.size()) {
    const auto count = static_cast<double>(params.rows_of_all_ranks());
    for (std::size_t c = 0; c < a.size(); ++c) {
      const double scale = factor * gamma[c] * inverse_std[c];
      a[c] = static_cast<float>(scale);
      b[c] = static_cast<float>(scale * sums.sum(c) / count);
      k[c] = static_cast<float>(scale * inverse_std[c] * sums.sum_x_hat(c) / count);
    }
  }
};

/// dgamma and dbeta (=|+=) factor times the sums.
inline void write_parameter_gradients(const GradientSums& sums, double factor, GradMode mode, float* dgamma,
                                      float* dbeta) {
  if (mode == GradMode::skip) return;
  for (std::size_t c = 0; c < sums.channels(); ++c) {
    const double before_gamma = mode == GradMode::accumulate ? dgamma[c] : 0.0,
                 before_beta = mode == GradMode::accumulate ? dbeta[c] : 0.0;
    dgamma[c] = static_cast<float>(before_gamma + factor * sums.sum_x_hat(c));
    dbeta[c] = static_cast<float>(before_beta + factor * sums.sum(c));
  }
}

}  // namespace zeroth::cpu
