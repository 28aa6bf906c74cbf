#pragma once

#include <array>

#include "kernels/core/flat_parameters.h"
#include "kernels/core/parallel.h"

namespace zeroth::cpu {

/// Calls update(first, gradient, learning_rate, decay) for every segment, in parallel: `first` is the index
/// of its first element in the flat buffers, `gradient` points to its kParameterSegment gradients in f32,
/// times the gradient factor. In mixed precision the gradients of working segments are widened before, and
/// their new weights narrowed after. A step that the factor skips has no segments, and those of the group
/// `left_out` are passed over.
template <class Update>
void for_each_segment(const FlatParams& params, const FlatParameters& operands, const Update& update,
                      int left_out = -1) {
  float* weights = operands.weights.as<float>();
  const float* gradients = operands.gradients.as<float>();
  const std::uint8_t* group_of_segment = operands.group_of_segment.as<std::uint8_t>();
  const float* rates = operands.rates.as<float>();
  const float factor = operands.gradient_factor ? *operands.gradient_factor.as<float>() : 1.0f;
  if (factor < 0.0f) return;
  using Segment = std::array<float, kParameterSegment>;
  const auto scaled = [factor](const auto* from, Segment& to) {
    for (std::size_t i = 0; i < to.size(); ++i) to[i] = factor * to_compute(from[i]);
    return to.data();
  };
  dispatch_working(params, [&]<class W>(TypeTag<W>) {
    parallel_for(params.elements / kParameterSegment, kParameterSegment,
                 [=](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t segment = begin; segment < end; ++segment) {
                     const std::int64_t first = segment * kParameterSegment;
                     const int byte = group_of_segment[segment];
                     if ((byte & ~kWorkingSegment) == left_out) continue;
                     const float* rate = rates + 2 * (byte & ~kWorkingSegment);
                     Segment copy;
                     if constexpr (!std::is_void_v<W>) {
                       if (byte & kWorkingSegment) {
                         const W* narrow = operands.working_gradients.as<W>() + first;
                         update(first, scaled(narrow, copy), rate[0], rate[1]);
                         W* working = operands.working_weights.as<W>() + first;
                         for (std::size_t i = 0; i < copy.size(); ++i)
                           working[i] = from_compute<W>(weights[static_cast<std::size_t>(first) + i]);
                         continue;
                       }
                     }
                     const float* gradient = gradients + first;
                     update(first, factor == 1.0f ? gradient : scaled(gradient, copy), rate[0], rate[1]);
                   }
                 });
  });
}

}  // namespace zeroth::cpu
