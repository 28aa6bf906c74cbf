// Batch normalisation over the last axis of a (rows, C) tensor, forward in training and inference, and
// backward.
// Bytes moved: training reads x twice (moments, then normalisation) and writes y once; inference reads and
// writes once; backward reads dy and x twice and writes dx once. Everything else is per channel.
// The trick is in the order of the sums. A thread keeps a pack of channels and a few rows in registers: their
// mean first, then the squared deviations from it, one read for both; threads and then blocks join such
// moments (Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
// variances", 1979), along trees that depend on the sizes alone. Neighbouring threads hold neighbouring
// 16-byte packs, so that a warp reads whole lines whatever C is; a C that packs do not divide goes element by
// element.
// Ioffe and Szegedy, "Batch normalization" (2015). The kernels are in batch_norm.cuh.

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/batch_norm/plain_gradient.cuh"
#include "kernels/batch_norm/second_stage.cuh"

namespace zeroth::ZEROTH_NATIVE {

namespace {

/// Stores normalised values as they are.
template <class T>
struct StorePlain {
  T* y;

  template <int kPack>
  struct Loaded {};
  template <int kPack>
  __device__ Loaded<kPack> load(std::int64_t) const {
    return {};
  }
  __device__ float factor() const { return 1.0f; }
  template <int kPack>
  __device__ void operator()(std::int64_t at, const Pack<float, kPack>& value, const Loaded<kPack>&,
                             float) const {
    Pack<T, kPack> rounded;
    for (int e = 0; e < kPack; ++e) rounded.value[e] = from_compute<T>(value.value[e]);
    store_pack(y + at, rounded);
  }
};

bool supports(const BatchNormParams& params) {
  return params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16;
}

/// What ranks exchange, two sums of each channel of each piece, then the coefficients of dx.
std::size_t workspace(Context&, const BatchNormParams& params) {
  std::int64_t pieces = 0;
  with_pack(params.dtype, params.channels,
            [&]<class T, int kPack>() { pieces = sums_layout<kPack>(params.rows, params.channels).pieces; });
  return exchange_bytes(params) +
         static_cast<std::size_t>((2 * pieces + kGradientCoefficients) * params.channels) * sizeof(float);
}

void forward_training(Context& context, const BatchNormParams& params, ConstTensorView x,
                      ConstTensorView gamma, ConstTensorView beta, TensorView running_mean,
                      TensorView running_var, TensorView y, TensorView mean, TensorView inverse_std,
                      Workspace scratch) {
  auto* exchanged = static_cast<double*>(scratch.data);
  auto* pieces = reinterpret_cast<float*>(static_cast<std::byte*>(scratch.data) + exchange_bytes(params));
  with_pack(params.dtype, params.channels, [&]<class T, int kPack>() {
    const ChannelLayout sums = sums_layout<kPack>(params.rows, params.channels),
                        pass = pass_layout<kPack>(params.rows, params.channels);
    launch(piece_moments_kernel<T, kPack>, sums.grid(), dim3(kChannelThreads), 0, context.stream(), x.as<T>(),
           sums, pieces);
    finish_moments(context, params, {pieces, sums}, exchanged,
                   {params.eps, params.momentum, mean.as<float>(), inverse_std.as<float>(),
                    running_mean.as<float>(), running_var.as<float>()});
    launch(normalise_kernel<T, kPack, false, StorePlain<T>>, pass.grid(), dim3(kChannelThreads), 0,
           context.stream(), x.as<T>(), pass, gamma.as<float>(), beta.as<float>(), mean.as<float>(),
           inverse_std.as<float>(), 0.0f, StorePlain<T>{y.as<T>()});
  });
}

void forward_inference(Context& context, const BatchNormParams& params, ConstTensorView x,
                       ConstTensorView gamma, ConstTensorView beta, ConstTensorView running_mean,
                       ConstTensorView running_var, TensorView y, Workspace) {
  if (params.rows == 0) return;
  with_pack(params.dtype, params.channels, [&]<class T, int kPack>() {
    const ChannelLayout pass = pass_layout<kPack>(params.rows, params.channels);
    launch(normalise_kernel<T, kPack, true, StorePlain<T>>, pass.grid(), dim3(kChannelThreads), 0,
           context.stream(), x.as<T>(), pass, gamma.as<float>(), beta.as<float>(), running_mean.as<float>(),
           running_var.as<float>(), static_cast<float>(params.eps), StorePlain<T>{y.as<T>()});
  });
}

void backward(Context& context, const BatchNormParams& params, ConstTensorView dy, ConstTensorView x,
              ConstTensorView gamma, ConstTensorView mean, ConstTensorView inverse_std, TensorView dx,
              GradMode dx_mode, TensorView dgamma, TensorView dbeta, GradMode parameter_mode,
              Workspace scratch) {
  auto* exchanged = static_cast<double*>(scratch.data);
  auto* pieces = reinterpret_cast<float*>(static_cast<std::byte*>(scratch.data) + exchange_bytes(params));
  const bool parameters = parameter_mode != GradMode::skip;
  with_pack(params.dtype, params.channels, [&]<class T, int kPack>() {
    const ChannelLayout sums = sums_layout<kPack>(params.rows, params.channels),
                        pass = pass_layout<kPack>(params.rows, params.channels);
    float* coefficients = pieces + std::int64_t{sums.pieces} * 2 * params.channels;
    const ChannelConstants constants{gamma.as<float>(), nullptr, mean.as<float>(), inverse_std.as<float>()};
    const PlainGradient<T> incoming{dy.as<T>()};
    launch(piece_gradients_kernel<T, kPack, PlainGradient<T>>, sums.grid(), dim3(kChannelThreads), 0,
           context.stream(), incoming, x.as<T>(), sums, constants, pieces);
    finish_gradients(context, params, {pieces, sums}, exchanged, constants,
                     GradientResults{nullptr, parameters ? dgamma.as<float>() : nullptr,
                                     parameters ? dbeta.as<float>() : nullptr,
                                     parameter_mode == GradMode::accumulate, coefficients, nullptr});
    if (dx_mode == GradMode::skip) return;
    const auto kernel = dx_mode == GradMode::accumulate
                            ? input_gradient_kernel<T, kPack, true, PlainGradient<T>>
                            : input_gradient_kernel<T, kPack, false, PlainGradient<T>>;
    launch(kernel, pass.grid(), dim3(kChannelThreads), 0, context.stream(), incoming, x.as<T>(), pass,
           constants, coefficients, AlphaGradient{}, dx.as<T>());
  });
}

}  // namespace

const BatchNormRow batch_norm_row{
    {"native", kNativeDevice, true}, supports, workspace, forward_training, forward_inference, backward};

}  // namespace zeroth::ZEROTH_NATIVE
