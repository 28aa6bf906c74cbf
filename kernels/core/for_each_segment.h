#pragma once

#include <array>

#include "kernels/core/flat_parameters.h"
#include "kernels/core/parallel.h"

namespace zeroth::cpu {

/// Calls update(first, gradient, learning_rate, decay) for every segment, in parallel: `first` is the index
/// of its first element in the flat buffers, `gradient` points to its kParameterSegment gradients in f32. In
/// mixed precision the gradients of working segments are widened before, and their new weights narrowed
/// after.
template <class Update>
void for_each_segment(const FlatParams& params, const FlatParameters& operands, const Update& update) {
  float* weights = operands.weights.as<float>();
  const float* gradients = operands.gradients.as<float>();
  const std::uint8_t* group_of_segment = operands.group_of_segment.as<std::uint8_t>();
  const float* rates = operands.rates.as<float>();
  dispatch_working(params, [&]<class W>(TypeTag<W>) {
    parallel_for(params.elements / kParameterSegment, kParameterSegment,
                 [=](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t segment = begin; segment < end; ++segment) {
                     const std::int64_t first = segment * kParameterSegment;
                     const int byte = group_of_segment[segment];
                     const float* rate = rates + 2 * (byte & ~kWorkingSegment);
                     if constexpr (!std::is_void_v<W>) {
                       if (byte & kWorkingSegment) {
                         const W* narrow = operands.working_gradients.as<W>() + first;
                         std::array<float, kParameterSegment> wide;
                         for (std::size_t i = 0; i < wide.size(); ++i) wide[i] = to_compute(narrow[i]);
                         update(first, wide.data(), rate[0], rate[1]);
                         W* working = operands.working_weights.as<W>() + first;
                         for (std::size_t i = 0; i < wide.size(); ++i)
                           working[i] = from_compute<W>(weights[static_cast<std::size_t>(first) + i]);
                         continue;
                       }
                     }
                     update(first, gradients + first, rate[0], rate[1]);
                   }
                 });
  });
}

}  // namespace zeroth::cpu
