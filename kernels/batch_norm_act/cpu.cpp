// Batch norm and what follows it on the CPU: one pass over x for the moments, one that normalises, joins and
// rectifies; backward in two passes, too. kernels/batch_norm/cpu_lanes.h says how rows and channels are cut.

#include "kernels/batch_norm/cpu_lanes.h"
#include "kernels/batch_norm_act/batch_norm_act.h"

namespace zeroth::cpu {

namespace {

bool supports(const BatchNormActParams& params) {
  return params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16;
}

/// Two sums for each channel of each piece: (pieces, 2, C) floats.
std::size_t workspace(Context&, const BatchNormActParams& params) {
  return static_cast<std::size_t>(pieces(params) * 2 * params.channels) * sizeof(float);
}

/// Calls fn.operator()<epilogue>().
template <class Fn>
void with_epilogue(Epilogue epilogue, Fn&& fn) {
  switch (epilogue) {
    case Epilogue::relu:
      return fn.template operator()<Epilogue::relu>();
    case Epilogue::plain:
      return fn.template operator()<Epilogue::plain>();
    case Epilogue::post:
      return fn.template operator()<Epilogue::post>();
    case Epilogue::authors:
      return fn.template operator()<Epilogue::authors>();
  }
}

/// 0 where `sign` is not above 0. NaN in `sign` closes, as in the plain operations.
inline void close_where_not_positive(const Lane& sign, Lane& value) {
  const Lane zero = {};
  value = sign > zero ? value : zero;
}

/// NaN passes.
inline void rectify(Lane& value) {
  const Lane zero = {};
  value = value < zero ? zero : value;
}

template <Epilogue kEpilogue>
inline void join(Lane& value, const Lane& shortcut, float alpha) {
  if constexpr (kEpilogue == Epilogue::authors) {
    rectify(value);
    value = alpha * value + shortcut;
  } else {
    if constexpr (kEpilogue == Epilogue::plain) value += shortcut;
    if constexpr (kEpilogue == Epilogue::post) value = alpha * value + shortcut;
    rectify(value);
  }
}

template <Epilogue kEpilogue, class T, class Operands>
void write_y(const BatchNormActParams& params, const Operands& o, const float* mean, const float* scale) {
  const std::int64_t channels = params.channels;
  const T *x = o.x.template as<T>(), *shortcut = o.shortcut.template as<T>();
  const float* beta = o.beta.template as<float>();
  const float alpha = has_alpha(kEpilogue) ? *o.alpha.template as<float>() : 1.0f;
  T* y = o.y.template as<T>();
  parallel_for(params.rows, 2 * channels, [=](std::int64_t begin, std::int64_t end) {
    for_each_lane(channels, [&]<bool kFull>(std::int64_t c0, std::int64_t width) {
      Lane m, s, b;
      load<kFull>(mean + c0, width, m);
      load<kFull>(scale + c0, width, s);
      load<kFull>(beta + c0, width, b);
      for (std::int64_t at = begin * channels + c0; at < end * channels; at += channels) {
        Lane value, other = {};
        load<kFull>(x + at, width, value);
        if constexpr (has_shortcut(kEpilogue)) load<kFull>(shortcut + at, width, other);
        value = (value - m) * s + b;
        join<kEpilogue>(value, other, alpha);
        store<kFull>(value, width, y + at);
      }
    });
  });
}

void forward_training(Context& context, const BatchNormActParams& params, const BatchNormActTraining& o,
                      Workspace workspace) {
  auto* moments = static_cast<float*>(workspace.data);
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    piece_moments(params, o.x.as<T>(), moments);
    const std::vector<float> scale =
        finish_moments(context, params, moments, o.gamma.as<float>(), o.mean.as<float>(),
                       o.inverse_std.as<float>(), o.running_mean.as<float>(), o.running_var.as<float>());
    with_epilogue(params.epilogue, [&]<Epilogue kEpilogue>() {
      write_y<kEpilogue, T>(params, o, o.mean.as<float>(), scale.data());
    });
  });
}

void forward_inference(Context&, const BatchNormActParams& params, const BatchNormActInference& o,
                       Workspace) {
  const std::vector<float> scale = inference_scale(params, o.gamma.as<float>(), o.running_var.as<float>());
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    with_epilogue(params.epilogue, [&]<Epilogue kEpilogue>() {
      write_y<kEpilogue, T>(params, o, o.running_mean.as<float>(), scale.data());
    });
  });
}

/// Whether the ReLU's side shows in y; otherwise z is recomputed.
constexpr bool masked_by_y(Epilogue epilogue) {
  return epilogue == Epilogue::plain || epilogue == Epilogue::post;
}

/// The first pass of backward, for each piece of rows: the sums of g and of g * x_hat. It writes dshortcut.
template <Epilogue kEpilogue, class T>
void sum_gradients(const BatchNormActParams& params, const BatchNormActGradients& o, float* sums) {
  const std::int64_t channels = params.channels, step = rows_in_piece(params);
  const T *dy = o.dy.as<T>(), *x = o.x.as<T>(), *y = o.y.as<T>();
  const float *gamma = o.gamma.as<float>(), *beta = o.beta.as<float>(), *mean = o.mean.as<float>(),
              *inverse_std = o.inverse_std.as<float>();
  const GradMode mode = has_shortcut(kEpilogue) ? o.dshortcut_mode : GradMode::skip;
  T* dshortcut = o.dshortcut.as<T>();
  parallel_for(pieces(params), 3 * step * channels, [=, &params](std::int64_t first, std::int64_t last) {
    for (std::int64_t piece = first; piece < last; ++piece) {
      const std::int64_t begin = piece * step, end = std::min(begin + step, params.rows);
      for_each_lane(channels, [&]<bool kFull>(std::int64_t c0, std::int64_t width) {
        Lane m, s, scale, b;
        load<kFull>(mean + c0, width, m);
        load<kFull>(inverse_std + c0, width, s);
        load<kFull>(gamma + c0, width, scale);
        load<kFull>(beta + c0, width, b);
        scale *= s;
        TwoSums total;
        sum_rows(begin, end, total, [=, &m, &s, &scale, &b](std::int64_t row, TwoSums& part) {
          const std::int64_t at = row * channels + c0;
          Lane g, value;
          load<kFull>(dy + at, width, g);
          load<kFull>(x + at, width, value);
          value -= m;
          const Lane incoming = g;
          if constexpr (masked_by_y(kEpilogue)) {
            Lane result;
            load<kFull>(y + at, width, result);
            close_where_not_positive(result, g);
          } else {
            const Lane z = value * scale + b;
            close_where_not_positive(z, g);
          }
          if (mode != GradMode::skip) {
            Lane to = kEpilogue == Epilogue::authors ? incoming : g;
            if (mode == GradMode::accumulate) {
              Lane before;
              load<kFull>(dshortcut + at, width, before);
              to += before;
            }
            store<kFull>(to, width, dshortcut + at);
          }
          part.a += g;
          part.b += g * (value * s);
        });
        float* to = sums + piece * 2 * channels + c0;
        store<kFull>(total.a, width, to);
        store<kFull>(total.b, width, to + channels);
      });
    }
  });
}

/// The second pass: dx, from dy, or from dshortcut where that holds g already.
template <Epilogue kEpilogue, bool kFromShortcut, class T>
void write_dx(const BatchNormActParams& params, const BatchNormActGradients& o, const Coefficients& f) {
  const std::int64_t channels = params.channels;
  const T *dy = kFromShortcut ? o.dshortcut.as<T>() : o.dy.as<T>(), *x = o.x.as<T>(), *y = o.y.as<T>();
  const float *gamma = o.gamma.as<float>(), *beta = o.beta.as<float>(), *mean = o.mean.as<float>(),
              *inverse_std = o.inverse_std.as<float>();
  const bool accumulate = o.dx_mode == GradMode::accumulate;
  T* dx = o.dx.as<T>();
  parallel_for(params.rows, 3 * channels, [=, &f](std::int64_t begin, std::int64_t end) {
    for_each_lane(channels, [&]<bool kFull>(std::int64_t c0, std::int64_t width) {
      Lane m, scale, b, factor, shift, slope;
      load<kFull>(mean + c0, width, m);
      load<kFull>(inverse_std + c0, width, scale);
      load<kFull>(gamma + c0, width, b);
      scale *= b;
      load<kFull>(beta + c0, width, b);
      load<kFull>(f.a.data() + c0, width, factor);
      load<kFull>(f.b.data() + c0, width, shift);
      load<kFull>(f.k.data() + c0, width, slope);
      for (std::int64_t at = begin * channels + c0; at < end * channels; at += channels) {
        Lane g, value;
        load<kFull>(dy + at, width, g);
        load<kFull>(x + at, width, value);
        value -= m;
        if constexpr (!kFromShortcut && masked_by_y(kEpilogue)) {
          Lane result;
          load<kFull>(y + at, width, result);
          close_where_not_positive(result, g);
        } else if constexpr (!kFromShortcut) {
          const Lane z = value * scale + b;
          close_where_not_positive(z, g);
        }
        g = factor * g - shift - value * slope;
        if (accumulate) {
          load<kFull>(dx + at, width, value);
          g += value;
        }
        store<kFull>(g, width, dx + at);
      }
    });
  });
}

/// dalpha (=|+=) the sum of g * z, from the sums of each channel.
void write_dalpha(const GradientSums& sums, const BatchNormActGradients& o) {
  double total = o.dalpha_mode == GradMode::accumulate ? *o.dalpha.as<float>() : 0.0;
  for (std::size_t c = 0; c < sums.channels(); ++c)
    total += o.gamma.as<float>()[c] * sums.sum_x_hat(c) + o.beta.as<float>()[c] * sums.sum(c);
  *o.dalpha.as<float>() = static_cast<float>(total);
}

void backward(Context& context, const BatchNormActParams& params, const BatchNormActGradients& o,
              Workspace workspace) {
  auto* pieces = static_cast<float*>(workspace.data);
  const double alpha = has_alpha(params.epilogue) ? *o.alpha.as<float>() : 1.0;
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    with_epilogue(params.epilogue, [&]<Epilogue kEpilogue>() {
      sum_gradients<kEpilogue, T>(params, o, pieces);
      const GradientSums sums(params, cpu::pieces(params), pieces);
      write_parameter_gradients(sums, alpha, o.parameter_mode, o.dgamma.as<float>(), o.dbeta.as<float>());
      if (has_alpha(kEpilogue) && o.dalpha_mode != GradMode::skip) write_dalpha(sums, o);
      if (o.dx_mode == GradMode::skip) return;
      const Coefficients coefficients(params, sums.of_all_ranks(context, params), o.gamma.as<float>(),
                                      o.inverse_std.as<float>(), alpha);
      if (masked_by_y(kEpilogue) && o.dshortcut_mode == GradMode::overwrite)
        write_dx<kEpilogue, true, T>(params, o, coefficients);
      else
        write_dx<kEpilogue, false, T>(params, o, coefficients);
    });
  });
}

}  // namespace

const BatchNormActRow batch_norm_act_row{
    {"cpu", DeviceKind::cpu, true}, supports, workspace, forward_training, forward_inference, backward};

}  // namespace zeroth::cpu
