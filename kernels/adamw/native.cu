// Adam and AdamW over one flat f32 buffer.
// Bytes moved: 28 an element (read weight, gradient, m and v, write all but the gradient). Bound by memory: a
// thread moves 16 bytes of each array at a time, and a pack lies in one segment, so its group is looked up
// once. The bias corrections need f64 (1 - 0.999 has lost four digits in f32) and depend on a step number in
// device memory: one thread a block computes them, and the grid is small enough that this costs nothing.
// Kingma and Ba, "Adam: a method for stochastic optimization" (2015); Loshchilov and Hutter, "Decoupled
// weight decay regularization" (2019), in PyTorch's form.

#include "kernels/adamw/adamw.h"
#include "kernels/core/block.cuh"

namespace zeroth::ZEROTH_NATIVE {

namespace {

constexpr int kThreads = 256;
constexpr int kPack = kPackSize<float>;
constexpr std::int64_t kMaxBlocks = 2048;

/// What all elements of a step share; the bias corrections come from the step number.
struct Coefficients {
  double log_beta1, log_beta2;
  float beta1, rest1, beta2, rest2, eps;
};

template <bool kDecoupled>
__global__ void __launch_bounds__(kThreads)
    adamw_kernel(float* w, const float* gradient, float* m, float* v, const std::uint8_t* group_of_segment,
                 const float* rates, const std::int32_t* step, Coefficients c, std::int64_t elements) {
  ZEROTH_SHARED(float, correction, [2]);
  if (threadIdx.x == 0) {
    const double t = *step;  // 1 - beta^t without cancellation
    correction[0] = static_cast<float>(-1.0 / expm1(t * c.log_beta1));
    correction[1] = static_cast<float>(1.0 / sqrt(-expm1(t * c.log_beta2)));
  }
  __syncthreads();
  const float inverse_correction1 = correction[0], inverse_root_correction2 = correction[1];
  const std::int64_t threads = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t pack = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; pack < elements / kPack;
       pack += threads) {
    const std::int64_t i = pack * kPack;
    auto w_pack = load_pack<kPack>(w + i);
    const auto gradient_pack = load_pack<kPack>(gradient + i);
    auto m_pack = load_pack<kPack>(m + i), v_pack = load_pack<kPack>(v + i);
    const int group = group_of_segment[i / kParameterSegment];
    const float learning_rate = rates[2 * group], decay = rates[2 * group + 1];
    const float step_size = learning_rate * inverse_correction1;
    for (int e = 0; e < kPack; ++e) {
      float g = gradient_pack.value[e], weight = w_pack.value[e];
      if constexpr (kDecoupled)
        weight -= learning_rate * decay * weight;
      else
        g += decay * weight;
      const float first = c.beta1 * m_pack.value[e] + c.rest1 * g;
      const float second = c.beta2 * v_pack.value[e] + c.rest2 * g * g;
      m_pack.value[e] = first;
      v_pack.value[e] = second;
      w_pack.value[e] = weight - step_size * first / (sqrtf(second) * inverse_root_correction2 + c.eps);
    }
    store_pack(m + i, m_pack);
    store_pack(v + i, v_pack);
    store_pack(w + i, w_pack);
  }
}

bool supports(const AdamwParams& params) {
  return params.dtype == DType::f32;
}

void step(Context& context, const AdamwParams& params, TensorView weights, ConstTensorView gradients,
          TensorView m, TensorView v, ConstTensorView group_of_segment, ConstTensorView rates,
          ConstTensorView step_view) {
  if (params.elements == 0) return;
  const Coefficients shared{log(params.beta1),
                            log(params.beta2),
                            static_cast<float>(params.beta1),
                            static_cast<float>(1.0 - params.beta1),
                            static_cast<float>(params.beta2),
                            static_cast<float>(1.0 - params.beta2),
                            static_cast<float>(params.eps)};
  launch(params.decoupled ? adamw_kernel<true> : adamw_kernel<false>,
         dim3(blocks_for(params.elements / kPack, kThreads, kMaxBlocks)), dim3(kThreads), 0, context.stream(),
         weights.as<float>(), gradients.as<float>(), m.as<float>(), v.as<float>(),
         group_of_segment.as<std::uint8_t>(), rates.as<float>(), step_view.as<std::int32_t>(), shared,
         params.elements);
}

}  // namespace

const AdamwRow adamw_row{{"native", kNativeDevice, true}, supports, step};

}  // namespace zeroth::ZEROTH_NATIVE
