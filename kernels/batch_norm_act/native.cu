// Batch normalisation and what follows it in a residual block: ReLU, or the join with the shortcut.
// Bytes moved, with A the size of x: training reads x twice, the shortcut once and writes y once: 3 A with a
// ReLU (5 A as two operations), 4 A with a join (6 A apart). Backward of a join reads dy, x and y, writes
// dshortcut, then reads that and x and writes dx: 7 A (10 A apart); in the form authors, whose dshortcut is
// dy itself and costs nothing in place, and of a ReLU, 5 A (a ReLU apart: 8 A).
// Three tricks beside those of batch_norm. The mask of the ReLU is never stored: it is y > 0, or, where x has
// to be read anyway and y has not, the sign of the recomputed normalised value. The first pass writes the
// masked gradient as dshortcut, so that the second need not read y. And the gradient of alpha needs no sum
// over elements:
//   sum g z = sum over c of  gamma_c * sum(g x_hat)_c + beta_c * sum(g)_c,
// both of which batch norm wants anyway (g: dy behind the mask, before the factor alpha).
// Ioffe and Szegedy, "Batch normalization" (2015); Bachlechner et al., "ReZero is all you need" (2020). The
// kernels are in kernels/batch_norm/batch_norm.cuh.

#include "kernels/batch_norm/plain_gradient.cuh"
#include "kernels/batch_norm/second_stage.cuh"
#include "kernels/batch_norm_act/batch_norm_act.h"

namespace zeroth::ZEROTH_NATIVE {

namespace {

__device__ inline float rectified(float x) {
  return x < 0.0f ? 0.0f : x;  // NaN passes
}

/// y = relu(z)
template <class T>
struct StoreRelu {
  T* y;

  template <int kPack>
  struct Loaded {};
  template <int kPack>
  __device__ Loaded<kPack> load(std::int64_t) const {
    return {};
  }
  __device__ float factor() const { return 1.0f; }
  template <int kPack>
  __device__ void operator()(std::int64_t at, const Pack<float, kPack>& z, const Loaded<kPack>&,
                             float) const {
    Pack<T, kPack> result;
    for (int e = 0; e < kPack; ++e) result.value[e] = from_compute<T>(rectified(z.value[e]));
    store_pack(y + at, result);
  }
};

/// The join of a residual block. alpha is null for the form plain.
template <class T, bool kAuthors>
struct StoreJoin {
  T* y;
  const T* shortcut;
  const float* alpha;

  template <int kPack>
  using Loaded = Pack<T, kPack>;
  template <int kPack>
  __device__ Loaded<kPack> load(std::int64_t at) const {
    return load_pack<kPack>(shortcut + at);
  }
  __device__ float factor() const { return alpha == nullptr ? 1.0f : *alpha; }
  template <int kPack>
  __device__ void operator()(std::int64_t at, const Pack<float, kPack>& z, const Pack<T, kPack>& loaded,
                             float factor) const {
    Pack<T, kPack> result;
    for (int e = 0; e < kPack; ++e) {
      const float other = to_compute(loaded.value[e]);
      result.value[e] = from_compute<T>(kAuthors ? factor * rectified(z.value[e]) + other
                                                 : rectified(factor * z.value[e] + other));
    }
    store_pack(y + at, result);
  }
};

/// What the first pass does with dshortcut.
template <class T>
struct ShortcutGradient {
  T* to;
  GradMode mode;

  template <int kPack>
  __device__ void write(std::int64_t at, const Pack<float, kPack>& gradient) const {
    if (mode == GradMode::skip) return;
    Pack<T, kPack> result{};
    if (mode == GradMode::accumulate) result = load_pack<kPack>(to + at);
    for (int e = 0; e < kPack; ++e)
      result.value[e] = from_compute<T>(to_compute(result.value[e]) + gradient.value[e]);
    store_pack(to + at, result);
  }
};

/// dy where y is above 0: the forms plain and post. Their dshortcut is this gradient.
template <class T>
struct MaskedByOutput {
  static constexpr bool kFromNormalised = false;
  static constexpr int kUnroll = kChannelUnroll / 4;  // three tensors are read: more rows would spill
  const T *dy, *y;
  ShortcutGradient<T> shortcut;

  template <int kPack>
  struct Loaded {
    Pack<T, kPack> dy, y;
  };
  template <int kPack>
  __device__ Loaded<kPack> load(std::int64_t at) const {
    return {load_pack<kPack>(dy + at), load_pack<kPack>(y + at)};
  }
  template <int kPack>
  __device__ Pack<float, kPack> gradient(const Loaded<kPack>& loaded, const Pack<float, kPack>&) const {
    Pack<float, kPack> result;
    for (int e = 0; e < kPack; ++e)
      result.value[e] = to_compute(loaded.y.value[e]) > 0.0f ? to_compute(loaded.dy.value[e]) : 0.0f;
    return result;
  }
  template <int kPack>
  __device__ void keep(std::int64_t at, const Loaded<kPack>&, const Pack<float, kPack>& gradient) const {
    shortcut.write(at, gradient);
  }
};

/// dy where z is above 0: ReLU and the form authors. The latter's dshortcut is dy.
template <class T>
struct MaskedByNormalised {
  static constexpr bool kFromNormalised = true;
  static constexpr int kUnroll = kChannelUnroll / 4;  // the normalisation itself takes registers
  const T* dy;
  ShortcutGradient<T> shortcut;

  template <int kPack>
  using Loaded = Pack<T, kPack>;
  template <int kPack>
  __device__ Loaded<kPack> load(std::int64_t at) const {
    return load_pack<kPack>(dy + at);
  }
  template <int kPack>
  __device__ Pack<float, kPack> gradient(const Pack<T, kPack>& loaded, const Pack<float, kPack>& z) const {
    Pack<float, kPack> result;
    for (int e = 0; e < kPack; ++e) result.value[e] = z.value[e] > 0.0f ? to_compute(loaded.value[e]) : 0.0f;
    return result;
  }
  template <int kPack>
  __device__ void keep(std::int64_t at, const Pack<T, kPack>& loaded, const Pack<float, kPack>&) const {
    shortcut.write(at, widened(loaded));
  }
};

/// For a gradient that wants no dx.
__global__ void __launch_bounds__(kChannelThreads)
    alpha_gradient_kernel(AlphaGradient alpha_gradient, std::int64_t channels) {
  ZEROTH_SHARED(double, slots, [kWarpSize]);
  alpha_gradient.write(channels, slots);
}

bool supports(const BatchNormActParams& params) {
  return params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16;
}

/// Each channel's share of dalpha, what ranks exchange, the two sums of each channel of each piece, the
/// coefficients of dx.
std::size_t workspace(Context&, const BatchNormActParams& params) {
  std::int64_t pieces = 0;
  with_pack(params.dtype, params.channels,
            [&]<class T, int kPack>() { pieces = sums_layout<kPack>(params.rows, params.channels).pieces; });
  return static_cast<std::size_t>(params.channels) *
             (sizeof(double) + static_cast<std::size_t>(2 * pieces + kGradientCoefficients) * sizeof(float)) +
         exchange_bytes(params);
}

/// Calls fn with the functor that finishes this epilogue.
template <class T, class Operands, class Fn>
void with_finish(const BatchNormActParams& params, const Operands& o, Fn&& fn) {
  T* y = o.y.template as<T>();
  const T* shortcut = o.shortcut.template as<T>();
  const float* alpha = has_alpha(params.epilogue) ? o.alpha.template as<float>() : nullptr;
  if (params.epilogue == Epilogue::relu)
    fn(StoreRelu<T>{y});
  else if (params.epilogue == Epilogue::authors)
    fn(StoreJoin<T, true>{y, shortcut, alpha});
  else
    fn(StoreJoin<T, false>{y, shortcut, alpha});
}

void forward_training(Context& context, const BatchNormActParams& params, const BatchNormActTraining& o,
                      Workspace scratch) {
  auto* exchanged = static_cast<double*>(scratch.data);
  auto* pieces = reinterpret_cast<float*>(static_cast<std::byte*>(scratch.data) + exchange_bytes(params));
  with_pack(params.dtype, params.channels, [&]<class T, int kPack>() {
    const ChannelLayout sums = sums_layout<kPack>(params.rows, params.channels),
                        pass = pass_layout<kPack>(params.rows, params.channels);
    launch(piece_moments_kernel<T, kPack>, sums.grid(), dim3(kChannelThreads), 0, context.stream(),
           o.x.as<T>(), sums, pieces);
    finish_moments(context, params, {pieces, sums}, exchanged,
                   {params.eps, params.momentum, o.mean.as<float>(), o.inverse_std.as<float>(),
                    o.running_mean.as<float>(), o.running_var.as<float>()});
    with_finish<T>(params, o, [&]<class Finish>(const Finish& finish) {
      launch(normalise_kernel<T, kPack, false, Finish>, pass.grid(), dim3(kChannelThreads), 0,
             context.stream(), o.x.as<T>(), pass, o.gamma.as<float>(), o.beta.as<float>(), o.mean.as<float>(),
             o.inverse_std.as<float>(), 0.0f, finish);
    });
  });
}

void forward_inference(Context& context, const BatchNormActParams& params, const BatchNormActInference& o,
                       Workspace) {
  if (params.rows == 0) return;
  with_pack(params.dtype, params.channels, [&]<class T, int kPack>() {
    const ChannelLayout pass = pass_layout<kPack>(params.rows, params.channels);
    with_finish<T>(params, o, [&]<class Finish>(const Finish& finish) {
      launch(normalise_kernel<T, kPack, true, Finish>, pass.grid(), dim3(kChannelThreads), 0,
             context.stream(), o.x.as<T>(), pass, o.gamma.as<float>(), o.beta.as<float>(),
             o.running_mean.as<float>(), o.running_var.as<float>(), static_cast<float>(params.eps), finish);
    });
  });
}

/// dshortcut of the form authors is dy: in place nothing is left to do.
template <class T>
ShortcutGradient<T> shortcut_gradient(const BatchNormActParams& params, const BatchNormActGradients& o) {
  const bool done = params.epilogue == Epilogue::authors && o.dshortcut_mode == GradMode::overwrite &&
                    o.dshortcut.data == o.dy.data;
  const bool skipped = done || !has_shortcut(params.epilogue);
  return {skipped ? nullptr : o.dshortcut.as<T>(), skipped ? GradMode::skip : o.dshortcut_mode};
}

/// Launches the three kernels of backward for a gradient that the passes see as First and Second.
template <class T, int kPack, class First, class Second>
void run_backward(Context& context, const BatchNormActParams& params, const BatchNormActGradients& o,
                  Workspace scratch, const First& first, const Second& second) {
  const ChannelLayout sums = sums_layout<kPack>(params.rows, params.channels),
                      pass = pass_layout<kPack>(params.rows, params.channels);
  auto* alpha_terms = static_cast<double*>(scratch.data);
  double* exchanged = alpha_terms + params.channels;
  auto* pieces = reinterpret_cast<float*>(reinterpret_cast<std::byte*>(exchanged) + exchange_bytes(params));
  float* coefficients = pieces + std::int64_t{sums.pieces} * 2 * params.channels;
  const bool parameters = o.parameter_mode != GradMode::skip,
             dalpha = has_alpha(params.epilogue) && o.dalpha_mode != GradMode::skip;
  const ChannelConstants constants{o.gamma.as<float>(), o.beta.as<float>(), o.mean.as<float>(),
                                   o.inverse_std.as<float>()};
  launch(piece_gradients_kernel<T, kPack, First>, sums.grid(), dim3(kChannelThreads), 0, context.stream(),
         first, o.x.as<T>(), sums, constants, pieces);
  finish_gradients(
      context, params, {pieces, sums}, exchanged, constants,
      GradientResults{has_alpha(params.epilogue) ? o.alpha.as<float>() : nullptr,
                      parameters ? o.dgamma.as<float>() : nullptr, parameters ? o.dbeta.as<float>() : nullptr,
                      o.parameter_mode == GradMode::accumulate, coefficients,
                      dalpha ? alpha_terms : nullptr});
  const AlphaGradient alpha_gradient{alpha_terms, dalpha ? o.dalpha.as<float>() : nullptr,
                                     o.dalpha_mode == GradMode::accumulate};
  if (o.dx_mode != GradMode::skip)
    launch(o.dx_mode == GradMode::accumulate ? input_gradient_kernel<T, kPack, true, Second>
                                             : input_gradient_kernel<T, kPack, false, Second>,
           pass.grid(), dim3(kChannelThreads), 0, context.stream(), second, o.x.as<T>(), pass, constants,
           coefficients, alpha_gradient, o.dx.as<T>());
  else if (dalpha)
    launch(alpha_gradient_kernel, dim3(1), dim3(kChannelThreads), 0, context.stream(), alpha_gradient,
           params.channels);
}

void backward(Context& context, const BatchNormActParams& params, const BatchNormActGradients& o,
              Workspace scratch) {
  with_pack(params.dtype, params.channels, [&]<class T, int kPack>() {
    const ShortcutGradient<T> shortcut = shortcut_gradient<T>(params, o);
    if (params.epilogue == Epilogue::relu || params.epilogue == Epilogue::authors) {
      const MaskedByNormalised<T> incoming{o.dy.as<T>(), shortcut};
      run_backward<T, kPack>(context, params, o, scratch, incoming, incoming);
      return;
    }
    const MaskedByOutput<T> incoming{o.dy.as<T>(), o.y.as<T>(), shortcut};
    if (o.dshortcut_mode == GradMode::overwrite)
      run_backward<T, kPack>(context, params, o, scratch, incoming, PlainGradient<T>{o.dshortcut.as<T>()});
    else
      run_backward<T, kPack>(context, params, o, scratch, incoming, incoming);
  });
}

}  // namespace

const BatchNormActRow batch_norm_act_row{
    {"native", kNativeDevice, true}, supports, workspace, forward_training, forward_inference, backward};

}  // namespace zeroth::ZEROTH_NATIVE
