// Shortcut A: every second pixel, zero channels on either side.
// Bytes moved: forward reads a quarter of x and writes y; backward writes dx (and reads it when it
// accumulates) and reads the middle channels of dy. One thread an element of what is written, channels
// fastest, so warps write whole rows; what forward skips is never loaded.

#include "kernels/core/block.cuh"
#include "kernels/shortcut_a/shortcut_a.h"

namespace zeroth::ZEROTH_NATIVE {

namespace {

constexpr int kThreads = 256;

struct Extents {
  std::int64_t h, w, c, p, q, k, before;
};

template <class T>
__global__ void __launch_bounds__(kThreads)
    shortcut_a_forward_kernel(const T* x, T* y, Extents a, std::int64_t elements) {
  const std::int64_t threads = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < elements; i += threads) {
    const std::int64_t c = i % a.k - a.before, pixel = i / a.k;
    const std::int64_t q = pixel % a.q, p = pixel / a.q % a.p, n = pixel / a.q / a.p;
    y[i] = c >= 0 && c < a.c ? x[((n * a.h + 2 * p) * a.w + 2 * q) * a.c + c] : T{};
  }
}

template <class T, bool kAccumulate>
__global__ void __launch_bounds__(kThreads)
    shortcut_a_backward_kernel(const T* dy, T* dx, Extents a, std::int64_t elements) {
  const std::int64_t threads = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < elements; i += threads) {
    const std::int64_t c = i % a.c, pixel = i / a.c;
    const std::int64_t column = pixel % a.w, row = pixel / a.w % a.h, n = pixel / a.w / a.h;
    const bool read = row % 2 == 0 && column % 2 == 0;
    if (kAccumulate && !read) continue;
    const T gradient = read ? dy[((n * a.p + row / 2) * a.q + column / 2) * a.k + a.before + c] : T{};
    dx[i] = kAccumulate ? from_compute<T>(to_compute(dx[i]) + to_compute(gradient)) : gradient;
  }
}

Extents extents(const ShortcutAParams& a) {
  return {a.h, a.w, a.c, a.p(), a.q(), a.k, (a.k - a.c) / 2};
}

bool supports(const ShortcutAParams& params) {
  return params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16;
}

void forward(Context& context, const ShortcutAParams& params, ConstTensorView x, TensorView y) {
  const std::int64_t elements = y.elements();
  if (elements == 0) return;
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    launch(shortcut_a_forward_kernel<T>, dim3(blocks_for(elements, kThreads)), dim3(kThreads), 0,
           context.stream(), x.as<T>(), y.as<T>(), extents(params), elements);
  });
}

void backward(Context& context, const ShortcutAParams& params, ConstTensorView dy, TensorView dx,
              GradMode mode) {
  const std::int64_t elements = dx.elements();
  if (elements == 0) return;
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    const auto kernel = mode == GradMode::accumulate ? shortcut_a_backward_kernel<T, true>
                                                     : shortcut_a_backward_kernel<T, false>;
    launch(kernel, dim3(blocks_for(elements, kThreads)), dim3(kThreads), 0, context.stream(), dy.as<T>(),
           dx.as<T>(), extents(params), elements);
  });
}

}  // namespace

const ShortcutARow shortcut_a_row{{"native", kNativeDevice, true}, supports, forward, backward};

}  // namespace zeroth::ZEROTH_NATIVE
