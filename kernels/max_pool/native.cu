// Maximum pooling.
// Bytes moved: forward reads x once from memory (windows overlap in the cache) and writes y and one byte an
// output; backward reads dy and the winners and writes dx (and reads it when it accumulates). One thread an
// element, channels fastest. Backward gathers: a pixel looks at the windows that hold it, in a fixed order,
// so no atomics are needed.

#include "kernels/core/block.cuh"
#include "kernels/max_pool/max_pool.h"
#include "kernels/max_pool/window.h"

namespace zeroth::ZEROTH_NATIVE {

namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void __launch_bounds__(kThreads)
    max_pool_forward_kernel(const T* x, T* y, std::uint8_t* winner, PoolWindow a, std::int64_t elements) {
  const std::int64_t threads = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < elements; i += threads) {
    const std::int64_t c = i % a.c, pixel = i / a.c;
    const std::int64_t q = pixel % a.q, p = pixel / a.q % a.p, n = pixel / a.q / a.p;
    pool_one(a, x + n * a.h * a.w * a.c, p, q, c, y[i], winner[i]);
  }
}

template <class T, bool kAccumulate>
__global__ void __launch_bounds__(kThreads)
    max_pool_backward_kernel(const T* dy, const std::uint8_t* winner, T* dx, PoolWindow a,
                             std::int64_t elements) {
  const std::int64_t threads = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < elements; i += threads) {
    const std::int64_t c = i % a.c, pixel = i / a.c;
    const std::int64_t column = pixel % a.w, row = pixel / a.w % a.h, n = pixel / a.w / a.h;
    const float gradient = gathered(a, dy, winner, n, row, column, c);
    dx[i] = from_compute<T>(kAccumulate ? to_compute(dx[i]) + gradient : gradient);
  }
}

bool supports(const MaxPoolParams& params) {
  return params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16;
}

void forward(Context& context, const MaxPoolParams& params, ConstTensorView x, TensorView y,
             TensorView winner) {
  const std::int64_t elements = y.elements();
  if (elements == 0) return;
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    launch(max_pool_forward_kernel<T>, dim3(blocks_for(elements, kThreads)), dim3(kThreads), 0,
           context.stream(), x.as<T>(), y.as<T>(), winner.as<std::uint8_t>(), pool_window(params), elements);
  });
}

void backward(Context& context, const MaxPoolParams& params, ConstTensorView dy, ConstTensorView winner,
              TensorView dx, GradMode mode) {
  const std::int64_t elements = dx.elements();
  if (elements == 0) return;
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    const auto kernel =
        mode == GradMode::accumulate ? max_pool_backward_kernel<T, true> : max_pool_backward_kernel<T, false>;
    launch(kernel, dim3(blocks_for(elements, kThreads)), dim3(kThreads), 0, context.stream(), dy.as<T>(),
           winner.as<std::uint8_t>(), dx.as<T>(), pool_window(params), elements);
  });
}

}  // namespace

const MaxPoolRow max_pool_row{{"native", kNativeDevice, true}, supports, forward, backward};

}  // namespace zeroth::ZEROTH_NATIVE
