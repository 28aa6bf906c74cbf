// Shortcut A: every second pixel, zeros for the new channels; and its gradient.
// Bytes moved: forward reads a quarter of x and writes y; backward reads the middle channels of dy and writes
// dx (accumulating, it reads and writes only the quarter of dx that forward read). A block takes one line of
// pixels of what is written, so the divisions that find a line happen once a block and those inside a line
// are of 32 bits. Where C, K and the zeros before are multiples of 16 bytes, a thread moves 16 bytes; else
// one element. He et al., "Deep residual learning for image recognition" (2015), section 4.2.

#include <limits>

#include "kernels/core/block.cuh"
#include "kernels/shortcut_a/shortcut_a.h"

namespace zeroth::ZEROTH_NATIVE {

namespace {

constexpr int kThreads = 128;

template <class T, int kPack>
__global__ void __launch_bounds__(kThreads)
    shortcut_a_forward_kernel(const T* x, T* y, std::int64_t lines, std::int64_t height, int p_extent,
                              int q_extent, int width, int channels, int out_channels) {
  const int before = (out_channels - channels) / 2, packs = out_channels / kPack;
  for (std::int64_t line = blockIdx.x; line < lines; line += gridDim.x) {
    const std::int64_t n = line / p_extent, p = line % p_extent;
    const T* from = x + (n * height + 2 * p) * width * channels;
    T* to = y + line * q_extent * out_channels;
    for (int item = static_cast<int>(threadIdx.x); item < q_extent * packs; item += kThreads) {
      const int q = item / packs, k = item % packs * kPack, c = k - before;
      Pack<T, kPack> pack{};
      if (c >= 0 && c < channels) pack = load_pack<kPack>(from + 2 * q * channels + c);
      store_pack(to + item * kPack, pack);
    }
  }
}

template <class T, int kPack, bool kAccumulate>
__global__ void __launch_bounds__(kThreads)
    shortcut_a_backward_kernel(const T* dy, T* dx, std::int64_t lines, int height, int p_extent, int q_extent,
                               int width, int channels, int out_channels) {
  const int before = (out_channels - channels) / 2, packs = channels / kPack;
  for (std::int64_t line = blockIdx.x; line < lines; line += gridDim.x) {
    const std::int64_t n = line / height;
    const int i = static_cast<int>(line % height);
    if (kAccumulate && i % 2 != 0) continue;
    const T* from = dy + (n * p_extent + i / 2) * q_extent * out_channels + before;
    T* to = dx + line * width * channels;
    for (int item = static_cast<int>(threadIdx.x); item < width * packs; item += kThreads) {
      const int j = item / packs, c = item % packs * kPack;
      const bool read = i % 2 == 0 && j % 2 == 0;
      if (kAccumulate && !read) continue;
      Pack<T, kPack> gradient{};
      if (read) gradient = load_pack<kPack>(from + j / 2 * out_channels + c);
      if constexpr (kAccumulate) {
        const auto old = load_pack<kPack>(to + item * kPack);
        for (int e = 0; e < kPack; ++e)
          gradient.value[e] = from_compute<T>(to_compute(old.value[e]) + to_compute(gradient.value[e]));
      }
      store_pack(to + item * kPack, gradient);
    }
  }
}

bool fits(std::int64_t value) {
  return value <= std::numeric_limits<int>::max();
}

/// Indices inside a line are of 32 bits.
bool supports(const ShortcutAParams& a) {
  return (a.dtype == DType::f32 || a.dtype == DType::bf16 || a.dtype == DType::f16) && fits(a.h) &&
         fits((a.w + kThreads) * a.c) && fits((a.q() + kThreads) * a.k);
}

/// Calls fn.operator()<T, kPack>().
template <class Fn>
void with_pack(const ShortcutAParams& a, Fn&& fn) {
  dispatch_storage(a.dtype, [&]<class T>(TypeTag<T>) {
    constexpr int kPack = kPackSize<T>;
    if (a.c % kPack == 0 && a.k % kPack == 0 && (a.k - a.c) / 2 % kPack == 0)
      fn.template operator()<T, kPack>();
    else
      fn.template operator()<T, 1>();
  });
}

void forward(Context& context, const ShortcutAParams& a, ConstTensorView x, TensorView y) {
  const std::int64_t lines = a.n * a.p();
  if (lines == 0) return;
  with_pack(a, [&]<class T, int kPack>() {
    launch(shortcut_a_forward_kernel<T, kPack>, dim3(blocks_for(lines, 1)), dim3(kThreads), 0,
           context.stream(), x.as<T>(), y.as<T>(), lines, a.h, a.p(), a.q(), a.w, a.c, a.k);
  });
}

void backward(Context& context, const ShortcutAParams& a, ConstTensorView dy, TensorView dx, GradMode mode) {
  const std::int64_t lines = a.n * a.h;
  if (lines == 0) return;
  with_pack(a, [&]<class T, int kPack>() {
    const auto kernel = mode == GradMode::accumulate ? shortcut_a_backward_kernel<T, kPack, true>
                                                     : shortcut_a_backward_kernel<T, kPack, false>;
    launch(kernel, dim3(blocks_for(lines, 1)), dim3(kThreads), 0, context.stream(), dy.as<T>(), dx.as<T>(),
           lines, a.h, a.p(), a.q(), a.w, a.c, a.k);
  });
}

}  // namespace

const ShortcutARow shortcut_a_row{{"native", kNativeDevice, true}, supports, forward, backward};

}  // namespace zeroth::ZEROTH_NATIVE
