// Adam and AdamW over one flat f32 buffer.
// Bytes moved: 28 an element (read weight, gradient, m and v, write all but the gradient); in mixed precision
// the gradient has 2 bytes, and the working weight 2 more. Bound by memory: a thread moves 16 bytes of each
// f32 array at a time, and a pack lies in one segment, so its group is looked up once. The bias corrections
// need f64 (1 - 0.999 has lost three digits in f32) and depend on a step number in device memory: one thread
// a block computes them, and the grid is small enough that this costs nothing. Kingma and Ba, "Adam: a method
// for stochastic optimization" (2015); Loshchilov and Hutter, "Decoupled weight decay regularization" (2019),
// in PyTorch's form.

#include "kernels/adamw/adamw.h"
#include "kernels/core/flat_parameters.cuh"

namespace zeroth::ZEROTH_NATIVE {

namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kMaxBlocks = 2048;

/// What all elements of a step share; the bias corrections come from the step number.
struct Coefficients {
  double log_beta1, log_beta2;
  float beta1, rest1, beta2, rest2, eps;
};

template <class W, bool kDecoupled>
__global__ void __launch_bounds__(kThreads)
    adamw_kernel(FlatPointers<W> flat, float* m, float* v, const std::int32_t* step, Coefficients c,
                 std::int64_t elements) {
  const float factor = flat.factor();
  if (factor < 0.0f) return;
  ZEROTH_SHARED(float, correction, [2]);
  if (threadIdx.x == 0) {
    const double t = *step;  // 1 - beta^t without cancellation
    correction[0] = static_cast<float>(-1.0 / expm1(t * c.log_beta1));
    correction[1] = static_cast<float>(1.0 / sqrt(-expm1(t * c.log_beta2)));
  }
  __syncthreads();
  const float inverse_correction1 = correction[0], inverse_root_correction2 = correction[1];
  const std::int64_t threads = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t index = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
       index < elements / kParameterPack; index += threads) {
    ParameterPack<W> pack(flat, factor, index * kParameterPack);
    auto m_pack = load_pack<kParameterPack>(m + pack.i), v_pack = load_pack<kParameterPack>(v + pack.i);
    const float step_size = pack.learning_rate * inverse_correction1;
    for (int e = 0; e < kParameterPack; ++e) {
      float g = pack.gradient.value[e], weight = pack.weight.value[e];
      if constexpr (kDecoupled)
        weight -= pack.learning_rate * pack.decay * weight;
      else
        g += pack.decay * weight;
      const float first = c.beta1 * m_pack.value[e] + c.rest1 * g;
      const float second = c.beta2 * v_pack.value[e] + c.rest2 * g * g;
      m_pack.value[e] = first;
      v_pack.value[e] = second;
      pack.weight.value[e] = weight - step_size * first / (sqrtf(second) * inverse_root_correction2 + c.eps);
    }
    store_pack(m + pack.i, m_pack);
    store_pack(v + pack.i, v_pack);
    pack.store(flat);
  }
}

bool supports(const AdamwParams& params) {
  return params.dtype == DType::f32;
}

void step(Context& context, const AdamwParams& params, const FlatParameters& parameters, TensorView m,
          TensorView v, ConstTensorView step_view) {
  if (params.elements == 0) return;
  const Coefficients shared{log(params.beta1),
                            log(params.beta2),
                            static_cast<float>(params.beta1),
                            static_cast<float>(1.0 - params.beta1),
                            static_cast<float>(params.beta2),
                            static_cast<float>(1.0 - params.beta2),
                            static_cast<float>(params.eps)};
  dispatch_working(params, [&]<class W>(TypeTag<W>) {
    launch(params.decoupled ? adamw_kernel<W, true> : adamw_kernel<W, false>,
           dim3(blocks_for(params.elements / kParameterPack, kThreads, kMaxBlocks)), dim3(kThreads), 0,
           context.stream(), FlatPointers<W>(parameters), m.as<float>(), v.as<float>(),
           step_view.as<std::int32_t>(), shared, params.elements);
  });
}

}  // namespace

const AdamwRow adamw_row{{"native", kNativeDevice, true}, supports, step};

}  // namespace zeroth::ZEROTH_NATIVE
