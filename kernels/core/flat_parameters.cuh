#pragma once

// What the optimizer kernels share: a pack of one segment's gradients, rates and weights, in mixed precision
// too.

#include <type_traits>

#include "kernels/core/block.cuh"
#include "kernels/core/flat_parameters.h"

namespace zeroth::ZEROTH_NATIVE {

/// A pack of this many elements lies in one segment.
inline constexpr int kParameterPack = kPackSize<float>;
static_assert(kParameterSegment % kParameterPack == 0);

/// FlatParameters as a kernel takes them. W is the working dtype of mixed precision, void without it.
template <class W>
struct FlatPointers {
  float* weights;
  const float* gradients;
  const std::uint8_t* group_of_segment;
  const float* rates;
  W* working_weights;
  const W* working_gradients;
  const float* gradient_factor;

  explicit FlatPointers(const FlatParameters& operands)
      : weights(operands.weights.as<float>()),
        gradients(operands.gradients.as<float>()),
        group_of_segment(operands.group_of_segment.as<std::uint8_t>()),
        rates(operands.rates.as<float>()),
        working_weights(nullptr),
        working_gradients(nullptr),
        gradient_factor(operands.gradient_factor.as<float>()) {
    if constexpr (!std::is_void_v<W>) {
      working_weights = operands.working_weights.as<W>();
      working_gradients = operands.working_gradients.as<W>();
    }
  }
  /// Of the segment that element i lies in.
  __device__ int group_of(std::int64_t i) const {
    return group_of_segment[i / kParameterSegment] & ~kWorkingSegment;
  }
  /// Below 0, the kernel has nothing to do.
  __device__ float factor() const { return gradient_factor == nullptr ? 1.0f : *gradient_factor; }
};

/// The pack that starts at element i, in registers.
template <class W>
struct ParameterPack {
  std::int64_t i;
  bool working;
  float learning_rate, decay;
  Pack<float, kParameterPack> weight, gradient;

  /// `factor`: of the gradients, flat.factor().
  __device__ ParameterPack(const FlatPointers<W>& flat, float factor, std::int64_t first)
      : i(first), working(false) {
    weight = load_pack<kParameterPack>(flat.weights + i);
    int group = flat.group_of_segment[i / kParameterSegment];
    if constexpr (!std::is_void_v<W>) {
      working = group & kWorkingSegment;
      group &= ~kWorkingSegment;
      if (working) {
        const auto narrow = load_pack<kParameterPack>(flat.working_gradients + i);
        for (int e = 0; e < kParameterPack; ++e) gradient.value[e] = to_compute(narrow.value[e]);
      }
    }
    if (!working) gradient = load_pack<kParameterPack>(flat.gradients + i);
    for (int e = 0; e < kParameterPack; ++e) gradient.value[e] *= factor;
    learning_rate = flat.rates[2 * group];
    decay = flat.rates[2 * group + 1];
  }

  __device__ void store(const FlatPointers<W>& flat) const {
    store_pack(flat.weights + i, weight);
    if constexpr (!std::is_void_v<W>) {
      if (!working) return;
      Pack<W, kParameterPack> narrow;
      for (int e = 0; e < kParameterPack; ++e) narrow.value[e] = from_compute<W>(weight.value[e]);
      store_pack(flat.working_weights + i, narrow);
    }
  }
};

}  // namespace zeroth::ZEROTH_NATIVE
