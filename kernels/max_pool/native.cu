// Maximum pooling over square windows, and its gradient.
// Bytes moved: forward reads x about once (windows overlap in the cache) and writes y and one byte a winner;
// backward reads dy and the winners and writes dx (and reads it when it accumulates). Backward gathers: each
// pixel looks at the windows that hold it, in scan order, so nothing is added atomically and the order is
// fixed. A block takes one line of pixels of what is written; a thread takes a pack of channels, 16 bytes
// where C allows, else one element. Boureau, Ponce and LeCun, "A theoretical analysis of feature pooling"
// (2010).

#include <limits>

#include "kernels/core/block.cuh"
#include "kernels/max_pool/max_pool.h"

namespace zeroth::ZEROTH_NATIVE {

namespace {

constexpr int kThreads = 128;

/// The problem in 32 bits: everything but the number of pictures.
struct PoolSizes {
  int h, w, c, p, q, window, stride, padding;
};

PoolSizes sizes_of(const MaxPoolParams& a) {
  const auto narrow = [](std::int64_t value) { return static_cast<int>(value); };
  return {narrow(a.h),   narrow(a.w),      narrow(a.c),      narrow(a.p()),
          narrow(a.q()), narrow(a.window), narrow(a.stride), narrow(a.padding)};
}

template <class T, int kPack>
__global__ void __launch_bounds__(kThreads)
    max_pool_forward_kernel(const T* x, T* y, std::uint8_t* winner, std::int64_t lines, PoolSizes a) {
  const int packs = a.c / kPack;
  for (std::int64_t line = blockIdx.x; line < lines; line += gridDim.x) {
    const T* picture = x + line / a.p * a.h * a.w * a.c;
    const int top = static_cast<int>(line % a.p) * a.stride - a.padding;
    for (int item = static_cast<int>(threadIdx.x); item < a.q * packs; item += kThreads) {
      const int left = item / packs * a.stride - a.padding, c = item % packs * kPack;
      Pack<T, kPack> best{};
      Pack<std::uint8_t, kPack> at{};
      bool any = false;
      for (int r = top < 0 ? -top : 0; r < a.window && top + r < a.h; ++r)
        for (int s = left < 0 ? -left : 0; s < a.window && left + s < a.w; ++s) {
          const auto pack = load_pack<kPack>(picture + (std::int64_t{top + r} * a.w + left + s) * a.c + c);
          for (int e = 0; e < kPack; ++e) {
            const float here = to_compute(pack.value[e]), old = to_compute(best.value[e]);
            if (any && !(here > old) && !(here != here && old == old)) continue;  // the first NaN wins
            best.value[e] = pack.value[e];
            at.value[e] = static_cast<std::uint8_t>(r * a.window + s);
          }
          any = true;
        }
      const std::int64_t to = (line * a.q + item / packs) * a.c + c;
      store_pack(y + to, best);
      store_pack(winner + to, at);
    }
  }
}

template <class T, int kPack, bool kAccumulate>
__global__ void __launch_bounds__(kThreads) max_pool_backward_kernel(const T* dy, const std::uint8_t* winner,
                                                                     T* dx, std::int64_t lines, PoolSizes a) {
  const int packs = a.c / kPack;
  for (std::int64_t line = blockIdx.x; line < lines; line += gridDim.x) {
    const std::int64_t n = line / a.h;
    const int i = static_cast<int>(line % a.h) + a.padding;
    const int first_p = i < a.window ? 0 : (i - a.window) / a.stride + 1;
    const int last_p = i / a.stride < a.p ? i / a.stride : a.p - 1;
    for (int item = static_cast<int>(threadIdx.x); item < a.w * packs; item += kThreads) {
      const int j = item / packs + a.padding, c = item % packs * kPack;
      const int first_q = j < a.window ? 0 : (j - a.window) / a.stride + 1;
      const int last_q = j / a.stride < a.q ? j / a.stride : a.q - 1;
      float sums[kPack] = {};
      for (int p = first_p; p <= last_p; ++p)
        for (int q = first_q; q <= last_q; ++q) {
          const std::int64_t from = ((n * a.p + p) * a.q + q) * a.c + c;
          const int position = (i - p * a.stride) * a.window + j - q * a.stride;
          const auto won = load_pack<kPack>(winner + from);
          const auto gradient = load_pack<kPack>(dy + from);
          for (int e = 0; e < kPack; ++e)
            if (won.value[e] == position) sums[e] += to_compute(gradient.value[e]);
        }
      T* to = dx + (line * a.w + item / packs) * a.c + c;
      Pack<T, kPack> result{};
      if constexpr (kAccumulate) result = load_pack<kPack>(to);
      for (int e = 0; e < kPack; ++e)
        result.value[e] = from_compute<T>(kAccumulate ? to_compute(result.value[e]) + sums[e] : sums[e]);
      store_pack(to, result);
    }
  }
}

/// Coordinates and indices inside a line are of 32 bits.
bool supports(const MaxPoolParams& a) {
  constexpr std::int64_t kLimit = std::numeric_limits<int>::max() / 2;
  return (a.dtype == DType::f32 || a.dtype == DType::bf16 || a.dtype == DType::f16) && a.h <= kLimit &&
         (a.w + kThreads) * a.c <= kLimit && (a.q() + kThreads) * a.c <= kLimit && a.stride <= kLimit;
}

/// Calls fn.operator()<T, kPack>().
template <class Fn>
void with_pack(const MaxPoolParams& a, Fn&& fn) {
  dispatch_storage(a.dtype, [&]<class T>(TypeTag<T>) {
    if (a.c % kPackSize<T> == 0)
      fn.template operator()<T, kPackSize<T>>();
    else
      fn.template operator()<T, 1>();
  });
}

void forward(Context& context, const MaxPoolParams& a, ConstTensorView x, TensorView y, TensorView winner) {
  const std::int64_t lines = a.n * a.p();
  if (lines == 0) return;
  with_pack(a, [&]<class T, int kPack>() {
    launch(max_pool_forward_kernel<T, kPack>, dim3(blocks_for(lines, 1)), dim3(kThreads), 0, context.stream(),
           x.as<T>(), y.as<T>(), winner.as<std::uint8_t>(), lines, sizes_of(a));
  });
}

void backward(Context& context, const MaxPoolParams& a, ConstTensorView dy, ConstTensorView winner,
              TensorView dx, GradMode mode) {
  const std::int64_t lines = a.n * a.h;
  if (lines == 0) return;
  with_pack(a, [&]<class T, int kPack>() {
    const auto kernel = mode == GradMode::accumulate ? max_pool_backward_kernel<T, kPack, true>
                                                     : max_pool_backward_kernel<T, kPack, false>;
    launch(kernel, dim3(blocks_for(lines, 1)), dim3(kThreads), 0, context.stream(), dy.as<T>(),
           winner.as<std::uint8_t>(), dx.as<T>(), lines, sizes_of(a));
  });
}

}  // namespace

const MaxPoolRow max_pool_row{{"native", kNativeDevice, true}, supports, forward, backward};

}  // namespace zeroth::ZEROTH_NATIVE
