// Multiplication by a constant.
// Bytes moved: x in and y out, and y in when it is added to. It serves the logits of a batch, some 40 KB:
// latency counts and nothing else, so a thread takes one element at a time.

#include "kernels/core/block.cuh"
#include "kernels/scale/scale.h"

namespace zeroth::ZEROTH_NATIVE {

namespace {

constexpr int kThreads = 256;

template <class T, bool kAccumulate>
__global__ void __launch_bounds__(kThreads)
    scale_kernel(const T* x, T* y, float factor, std::int64_t elements) {
  const std::int64_t threads = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < elements; i += threads) {
    const float scaled = factor * to_compute(x[i]);
    y[i] = from_compute<T>(kAccumulate ? to_compute(y[i]) + scaled : scaled);
  }
}

bool supports(const ScaleParams& params) {
  return params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16;
}

void forward(Context& context, const ScaleParams& params, ConstTensorView x, TensorView y, GradMode mode) {
  if (params.elements == 0) return;
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    const auto kernel = mode == GradMode::accumulate ? scale_kernel<T, true> : scale_kernel<T, false>;
    launch(kernel, dim3(blocks_for(params.elements, kThreads)), dim3(kThreads), 0, context.stream(),
           x.as<T>(), y.as<T>(), static_cast<float>(params.factor), params.elements);
  });
}

}  // namespace

const ScaleRow scale_row{{"native", kNativeDevice, true}, supports, forward};

}  // namespace zeroth::ZEROTH_NATIVE
