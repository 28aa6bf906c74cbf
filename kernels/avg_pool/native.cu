// Global average pooling.
// Bytes moved: forward reads x once, backward writes dx once (and reads it when it accumulates); the pooled
// side is small. Forward gives a block one picture and 32 channels: 8 rows of 32 threads walk down the
// pixels, each row's loads contiguous over channels, and the 8 partial sums meet in shared memory in a fixed
// order.

#include "kernels/avg_pool/avg_pool.h"
#include "kernels/core/block.cuh"

namespace zeroth::ZEROTH_NATIVE {

namespace {

constexpr int kLanes = 32;  // channels of a block
constexpr int kRows = 8;    // pixels in flight
constexpr int kThreads = 256;

template <class T>
__global__ void __launch_bounds__(kLanes* kRows)
    avg_pool_forward_kernel(const T* x, T* y, std::int64_t pixels, std::int64_t channels,
                            std::int64_t groups) {
  ZEROTH_SHARED(float, partial, [kRows][kLanes]);
  const std::int64_t n = blockIdx.x / groups, c = blockIdx.x % groups * kLanes + threadIdx.x;
  float sum = 0.0f;
  if (c < channels)
    for (std::int64_t pixel = threadIdx.y; pixel < pixels; pixel += kRows)
      sum += to_compute(x[(n * pixels + pixel) * channels + c]);
  partial[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || c >= channels) return;
  float total = 0.0f;
  for (int row = 0; row < kRows; ++row) total += partial[row][threadIdx.x];
  y[n * channels + c] = from_compute<T>(total / static_cast<float>(pixels));
}

template <class T, bool kAccumulate>
__global__ void __launch_bounds__(kThreads)
    avg_pool_backward_kernel(const T* dy, T* dx, std::int64_t pixels, std::int64_t channels,
                             std::int64_t elements) {
  const std::int64_t threads = std::int64_t{gridDim.x} * blockDim.x;
  const std::int64_t picture = pixels * channels;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < elements; i += threads) {
    const float gradient = to_compute(dy[i / picture * channels + i % channels]) / static_cast<float>(pixels);
    dx[i] = from_compute<T>(kAccumulate ? to_compute(dx[i]) + gradient : gradient);
  }
}

bool supports(const AvgPoolParams& params) {
  return params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16;
}

void forward(Context& context, const AvgPoolParams& params, ConstTensorView x, TensorView y) {
  if (params.n == 0) return;
  const std::int64_t groups = (params.c + kLanes - 1) / kLanes;
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    launch(avg_pool_forward_kernel<T>, dim3(static_cast<unsigned>(params.n * groups)), dim3(kLanes, kRows), 0,
           context.stream(), x.as<T>(), y.as<T>(), params.h * params.w, params.c, groups);
  });
}

void backward(Context& context, const AvgPoolParams& params, ConstTensorView dy, TensorView dx,
              GradMode mode) {
  const std::int64_t elements = dx.elements();
  if (elements == 0) return;
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    const auto kernel =
        mode == GradMode::accumulate ? avg_pool_backward_kernel<T, true> : avg_pool_backward_kernel<T, false>;
    launch(kernel, dim3(blocks_for(elements, kThreads)), dim3(kThreads), 0, context.stream(), dy.as<T>(),
           dx.as<T>(), params.h * params.w, params.c, elements);
  });
}

}  // namespace

const AvgPoolRow avg_pool_row{{"native", kNativeDevice, true}, supports, forward, backward};

}  // namespace zeroth::ZEROTH_NATIVE
