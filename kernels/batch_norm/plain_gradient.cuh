#pragma once

#include "kernels/batch_norm/batch_norm.cuh"

namespace zeroth::ZEROTH_NATIVE {

template <class T, int kPack>
__device__ inline Pack<float, kPack> widened(const Pack<T, kPack>& pack) {
  Pack<float, kPack> result;
  for (int e = 0; e < kPack; ++e) result.value[e] = to_compute(pack.value[e]);
  return result;
}

/// A gradient as it lies in memory.
template <class T>
struct PlainGradient {
  static constexpr bool kFromNormalised = false;
  static constexpr int kUnroll = kChannelUnroll / 2;
  const T* dy;

  template <int kPack>
  using Loaded = Pack<T, kPack>;
  template <int kPack>
  __device__ Loaded<kPack> load(std::int64_t at) const {
    return load_pack<kPack>(dy + at);
  }
  template <int kPack>
  __device__ Pack<float, kPack> gradient(const Pack<T, kPack>& loaded, const Pack<float, kPack>&) const {
    return widened(loaded);
  }
  template <int kPack>
  __device__ void keep(std::int64_t, const Pack<T, kPack>&, const Pack<float, kPack>&) const {}
};

}  // namespace zeroth::ZEROTH_NATIVE
