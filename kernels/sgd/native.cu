// Stochastic gradient descent over one flat f32 buffer.
// Bytes moved: 20 an element with momentum (read weight, gradient and buffer, write weight and buffer), 12
// without; in mixed precision the gradient has 2 bytes, and the working weight 2 more. Bound by memory: a
// thread moves 16 bytes of each f32 array at a time, so that every warp asks for whole 512-byte rows. A pack
// never straddles two segments, so a thread looks up its group once; the table of groups is 1/256 of the
// traffic and the rates stay in the L1 cache. Update as in Sutskever et al., "On the importance of
// initialization and momentum in deep learning" (2013), in PyTorch's form.

#include "kernels/core/flat_parameters.cuh"
#include "kernels/sgd/sgd.h"

namespace zeroth::ZEROTH_NATIVE {

namespace {

constexpr int kThreads = 256;

enum class Form { plain, momentum, nesterov };

template <class W, Form kForm>
__global__ void __launch_bounds__(kThreads)
    sgd_kernel(FlatPointers<W> flat, float* buffer, float momentum, int left_out, std::int64_t elements) {
  const float factor = flat.factor();
  if (factor < 0.0f) return;
  const std::int64_t threads = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t index = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
       index < elements / kParameterPack; index += threads) {
    if (left_out >= 0 && flat.group_of(index * kParameterPack) == left_out) continue;
    ParameterPack<W> pack(flat, factor, index * kParameterPack);
    Pack<float, kParameterPack> buffer_pack{};
    if constexpr (kForm != Form::plain) buffer_pack = load_pack<kParameterPack>(buffer + pack.i);
    for (int e = 0; e < kParameterPack; ++e) {
      const float g = pack.gradient.value[e] + pack.decay * pack.weight.value[e];
      float move = g;
      if constexpr (kForm != Form::plain) {
        const float b = momentum * buffer_pack.value[e] + g;
        buffer_pack.value[e] = b;
        move = kForm == Form::nesterov ? g + momentum * b : b;
      }
      pack.weight.value[e] -= pack.learning_rate * move;
    }
    pack.store(flat);
    if constexpr (kForm != Form::plain) store_pack(buffer + pack.i, buffer_pack);
  }
}

bool supports(const SgdParams& params) {
  return params.dtype == DType::f32;
}

void step(Context& context, const SgdParams& params, const FlatParameters& parameters,
          TensorView momentum_buffer) {
  if (params.elements == 0) return;
  dispatch_working(params, [&]<class W>(TypeTag<W>) {
    const auto kernel = params.momentum == 0.0 ? sgd_kernel<W, Form::plain>
                        : params.nesterov      ? sgd_kernel<W, Form::nesterov>
                                               : sgd_kernel<W, Form::momentum>;
    launch(kernel, dim3(blocks_for(params.elements / kParameterPack, kThreads)), dim3(kThreads), 0,
           context.stream(), FlatPointers<W>(parameters), momentum_buffer.as<float>(),
           static_cast<float>(params.momentum), params.left_out, params.elements);
  });
}

}  // namespace

const SgdRow sgd_row{{"native", kNativeDevice, true}, supports, step};

}  // namespace zeroth::ZEROTH_NATIVE
