// Global average pooling, (N, H, W, C) to (N, C), and its gradient.
// Bytes moved: forward reads x once; backward writes dx once (and reads it when it accumulates); the rest is
// small. A block takes one picture and up to 32 neighbouring packs of channels; its threads share the pixels
// and join their sums in a tree, so that the order is fixed and a small batch still fills the GPU. A pack is
// 16 bytes where C allows, else one element. Lin, Chen and Yan, "Network in network" (2013).

#include <limits>

#include "kernels/avg_pool/avg_pool.h"
#include "kernels/core/block.cuh"

namespace zeroth::ZEROTH_NATIVE {

namespace {

constexpr int kThreads = 256;
constexpr int kMaxLanes = 32;
constexpr int kMaxGridY = 65535;
constexpr std::int64_t kMaxPictures = 1024;  // at a time: more than a GPU holds blocks

template <class T, int kPack>
__global__ void __launch_bounds__(kThreads)
    avg_pool_forward_kernel(const T* x, T* y, std::int64_t pictures, int pixels, int channels, int lanes) {
  ZEROTH_SHARED(float, slots, [kPack][kThreads]);
  const int lane = static_cast<int>(threadIdx.x) % lanes, part = static_cast<int>(threadIdx.x) / lanes;
  const int parts = kThreads / lanes;
  const int channel = (static_cast<int>(blockIdx.y) * lanes + lane) * kPack;
  const bool inside = part < parts && channel < channels;
  for (std::int64_t n = blockIdx.x; n < pictures; n += gridDim.x) {
    float sums[kPack] = {};
    const T* from = x + n * pixels * channels + channel;
    for (int pixel = part; inside && pixel < pixels; pixel += parts) {
      const auto pack = load_pack<kPack>(from + std::int64_t{pixel} * channels);
      for (int e = 0; e < kPack; ++e) sums[e] += to_compute(pack.value[e]);
    }
    __syncthreads();  // the picture before has been read
    for (int e = 0; e < kPack; ++e) slots[e][threadIdx.x] = sums[e];
    for (int left = parts; left > 1;) {
      const int half = (left + 1) / 2;
      __syncthreads();
      if (part + half < left)
        for (int e = 0; e < kPack; ++e)
          slots[e][threadIdx.x] += slots[e][static_cast<int>(threadIdx.x) + half * lanes];
      left = half;
    }
    if (part != 0 || !inside) continue;
    Pack<T, kPack> mean;
    for (int e = 0; e < kPack; ++e)
      mean.value[e] = from_compute<T>(slots[e][threadIdx.x] / static_cast<float>(pixels));
    store_pack(y + n * channels + channel, mean);
  }
}

template <class T, int kPack, bool kAccumulate>
__global__ void __launch_bounds__(kThreads)
    avg_pool_backward_kernel(const T* dy, T* dx, std::int64_t pictures, int pixels, int channels) {
  const int packs = channels / kPack, items = pixels * packs;
  for (std::int64_t n = blockIdx.x; n < pictures; n += gridDim.x)
    for (int item = static_cast<int>(blockIdx.y * kThreads + threadIdx.x); item < items;
         item += static_cast<int>(gridDim.y) * kThreads) {
      const auto gradient = load_pack<kPack>(dy + n * channels + item % packs * kPack);
      T* to = dx + (n * items + item) * kPack;
      Pack<T, kPack> result{};
      if constexpr (kAccumulate) result = load_pack<kPack>(to);
      for (int e = 0; e < kPack; ++e) {
        const float share = to_compute(gradient.value[e]) / static_cast<float>(pixels);
        result.value[e] = from_compute<T>(kAccumulate ? to_compute(result.value[e]) + share : share);
      }
      store_pack(to, result);
    }
}

/// Indices inside a picture are of 32 bits, with room for a stride of the grid.
bool supports(const AvgPoolParams& a) {
  return (a.dtype == DType::f32 || a.dtype == DType::bf16 || a.dtype == DType::f16) &&
         a.h * a.w * a.c <= std::numeric_limits<int>::max() - kMaxGridY * kThreads;
}

/// Calls fn.operator()<T, kPack>().
template <class Fn>
void with_pack(const AvgPoolParams& a, Fn&& fn) {
  dispatch_storage(a.dtype, [&]<class T>(TypeTag<T>) {
    if (a.c % kPackSize<T> == 0)
      fn.template operator()<T, kPackSize<T>>();
    else
      fn.template operator()<T, 1>();
  });
}

void forward(Context& context, const AvgPoolParams& a, ConstTensorView x, TensorView y) {
  if (a.n == 0) return;
  with_pack(a, [&]<class T, int kPack>() {
    const auto packs = static_cast<int>(a.c / kPack), lanes = packs < kMaxLanes ? packs : kMaxLanes;
    const dim3 grid(blocks_for(a.n, 1, kMaxPictures), blocks_for(packs, lanes, packs));
    launch(avg_pool_forward_kernel<T, kPack>, grid, dim3(kThreads), 0, context.stream(), x.as<T>(), y.as<T>(),
           a.n, a.h * a.w, a.c, lanes);
  });
}

void backward(Context& context, const AvgPoolParams& a, ConstTensorView dy, TensorView dx, GradMode mode) {
  if (a.n == 0) return;
  with_pack(a, [&]<class T, int kPack>() {
    const dim3 grid(blocks_for(a.n, 1, kMaxPictures),
                    blocks_for(a.h * a.w * a.c / kPack, kThreads, kMaxGridY));
    const auto kernel = mode == GradMode::accumulate ? avg_pool_backward_kernel<T, kPack, true>
                                                     : avg_pool_backward_kernel<T, kPack, false>;
    launch(kernel, grid, dim3(kThreads), 0, context.stream(), dy.as<T>(), dx.as<T>(), a.n, a.h * a.w, a.c);
  });
}

}  // namespace

const AvgPoolRow avg_pool_row{{"native", kNativeDevice, true}, supports, forward, backward};

}  // namespace zeroth::ZEROTH_NATIVE
