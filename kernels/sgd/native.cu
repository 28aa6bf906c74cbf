// Stochastic gradient descent over one flat f32 buffer.
// Bytes moved: 20 an element with momentum (read weight, gradient and buffer, write weight and buffer), 12
// without. Bound by memory: a thread moves 16 bytes of each array at a time, so that every warp asks for
// whole 512-byte rows. A pack never straddles two segments, so a thread looks up its group once; the table of
// groups is 1/256 of the traffic and the rates stay in the L1 cache. Update as in Sutskever et al., "On the
// importance of initialization and momentum in deep learning" (2013), in PyTorch's form.

#include "kernels/core/block.cuh"
#include "kernels/sgd/sgd.h"

namespace zeroth::ZEROTH_NATIVE {

namespace {

constexpr int kThreads = 256;
constexpr int kPack = kPackSize<float>;

enum class Form { plain, momentum, nesterov };

template <Form kForm>
__global__ void __launch_bounds__(kThreads)
    sgd_kernel(float* w, const float* gradient, float* buffer, const std::uint8_t* group_of_segment,
               const float* rates, float momentum, std::int64_t elements) {
  const std::int64_t threads = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t pack = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; pack < elements / kPack;
       pack += threads) {
    const std::int64_t i = pack * kPack;
    auto w_pack = load_pack<kPack>(w + i);
    const auto gradient_pack = load_pack<kPack>(gradient + i);
    Pack<float, kPack> buffer_pack{};
    if constexpr (kForm != Form::plain) buffer_pack = load_pack<kPack>(buffer + i);
    const int group = group_of_segment[i / kParameterSegment];
    const float learning_rate = rates[2 * group], decay = rates[2 * group + 1];
    for (int e = 0; e < kPack; ++e) {
      const float g = gradient_pack.value[e] + decay * w_pack.value[e];
      float move = g;
      if constexpr (kForm != Form::plain) {
        const float b = momentum * buffer_pack.value[e] + g;
        buffer_pack.value[e] = b;
        move = kForm == Form::nesterov ? g + momentum * b : b;
      }
      w_pack.value[e] -= learning_rate * move;
    }
    store_pack(w + i, w_pack);
    if constexpr (kForm != Form::plain) store_pack(buffer + i, buffer_pack);
  }
}

bool supports(const SgdParams& params) {
  return params.dtype == DType::f32;
}

void step(Context& context, const SgdParams& params, TensorView weights, ConstTensorView gradients,
          TensorView momentum_buffer, ConstTensorView group_of_segment, ConstTensorView rates) {
  if (params.elements == 0) return;
  const auto kernel = params.momentum == 0.0 ? sgd_kernel<Form::plain>
                      : params.nesterov      ? sgd_kernel<Form::nesterov>
                                             : sgd_kernel<Form::momentum>;
  launch(kernel, dim3(blocks_for(params.elements / kPack, kThreads)), dim3(kThreads), 0, context.stream(),
         weights.as<float>(), gradients.as<float>(), momentum_buffer.as<float>(),
         group_of_segment.as<std::uint8_t>(), rates.as<float>(), static_cast<float>(params.momentum),
         params.elements);
}

}  // namespace

const SgdRow sgd_row{{"native", kNativeDevice, true}, supports, step};

}  // namespace zeroth::ZEROTH_NATIVE
