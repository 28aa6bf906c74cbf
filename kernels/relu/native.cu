// Rectifier, forward and backward.
// Bytes moved: forward reads and writes the tensor once; backward reads dy and y and writes dx (and reads it
// when it accumulates). The kernels are bound by memory, so each thread moves 16 bytes at a time; the last
// elements, fewer than a pack, go one by one.

#include "kernels/core/block.cuh"
#include "kernels/relu/relu.h"

namespace zeroth::ZEROTH_NATIVE {

namespace {

constexpr int kThreads = 256;

template <class T>
__device__ inline T rectify(T x) {
  return to_compute(x) < 0.0f ? T{} : x;
}

template <class T>
__global__ void __launch_bounds__(kThreads) relu_forward_kernel(const T* x, T* y, std::int64_t elements) {
  constexpr int kPack = kPackSize<T>;
  const std::int64_t thread = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const std::int64_t threads = std::int64_t{gridDim.x} * blockDim.x;
  const std::int64_t packs = elements / kPack;
  for (std::int64_t p = thread; p < packs; p += threads) {
    auto pack = load_pack<kPack>(x + p * kPack);
    for (T& value : pack.value) value = rectify(value);
    store_pack(y + p * kPack, pack);
  }
  for (std::int64_t i = packs * kPack + thread; i < elements; i += threads) y[i] = rectify(x[i]);
}

template <class T, bool kAccumulate>
__device__ inline T masked_gradient(T dy, T y, T dx) {
  const bool open = to_compute(y) > 0.0f;
  if constexpr (kAccumulate) return open ? from_compute<T>(to_compute(dx) + to_compute(dy)) : dx;
  return open ? dy : T{};
}

template <class T, bool kAccumulate>
__global__ void __launch_bounds__(kThreads)
    relu_backward_kernel(const T* dy, const T* y, T* dx, std::int64_t elements) {
  constexpr int kPack = kPackSize<T>;
  const std::int64_t thread = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const std::int64_t threads = std::int64_t{gridDim.x} * blockDim.x;
  const std::int64_t packs = elements / kPack;
  for (std::int64_t p = thread; p < packs; p += threads) {
    const auto dy_pack = load_pack<kPack>(dy + p * kPack), y_pack = load_pack<kPack>(y + p * kPack);
    Pack<T, kPack> dx_pack{};
    if constexpr (kAccumulate) dx_pack = load_pack<kPack>(dx + p * kPack);
    for (int i = 0; i < kPack; ++i)
      dx_pack.value[i] = masked_gradient<T, kAccumulate>(dy_pack.value[i], y_pack.value[i], dx_pack.value[i]);
    store_pack(dx + p * kPack, dx_pack);
  }
  for (std::int64_t i = packs * kPack + thread; i < elements; i += threads)
    dx[i] = masked_gradient<T, kAccumulate>(dy[i], y[i], kAccumulate ? dx[i] : T{});
}

bool supports(const ReluParams& params) {
  return params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16;
}

void forward(Context& context, const ReluParams& params, ConstTensorView x, TensorView y) {
  if (params.elements == 0) return;
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    launch(relu_forward_kernel<T>, dim3(blocks_for(params.elements / kPackSize<T> + 1, kThreads)),
           dim3(kThreads), 0, context.stream(), x.as<T>(), y.as<T>(), params.elements);
  });
}

void backward(Context& context, const ReluParams& params, ConstTensorView dy, ConstTensorView y,
              TensorView dx, GradMode mode) {
  if (params.elements == 0) return;
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    const auto kernel =
        mode == GradMode::accumulate ? relu_backward_kernel<T, true> : relu_backward_kernel<T, false>;
    launch(kernel, dim3(blocks_for(params.elements / kPackSize<T> + 1, kThreads)), dim3(kThreads), 0,
           context.stream(), dy.as<T>(), y.as<T>(), dx.as<T>(), params.elements);
  });
}

}  // namespace

const ReluRow relu_row{{"native", kNativeDevice, true}, supports, forward, backward};

}  // namespace zeroth::ZEROTH_NATIVE
