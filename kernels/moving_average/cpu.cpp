#include <algorithm>

#include "kernels/core/parallel.h"
#include "kernels/moving_average/decide.h"

namespace zeroth::cpu {

namespace {

bool supports(const MovingAverageParams& params) {
  return params.dtype == DType::f32;
}

/// One segment: loops of fixed length without branches, which vectorise.
void follow(const float* __restrict values, float* __restrict average, float share) {
  for (std::int64_t i = 0; i < kParameterSegment; ++i) average[i] += share * (values[i] - average[i]);
}

void step(Context&, const MovingAverageParams& params, const MovingAverageOperands& operands) {
  const float share =
      share_of_step(params.every, params.warm_up, *operands.share.as<float>(),
                    operands.updates.as<std::int32_t>(), operands.gradient_factor.as<float>());
  if (share < 0.0f) return;
  float *values = operands.values.as<float>(), *average = operands.average.as<float>();
  const std::uint8_t* groups = operands.group_of_segment.as<std::uint8_t>();
  parallel_for(params.elements / kParameterSegment, kParameterSegment,
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t segment = begin; segment < end; ++segment) {
                   const std::int64_t first = segment * kParameterSegment;
                   if (share > 0.0f) follow(values + first, average + first, share);
                   if (!params.write_back) continue;
                   std::copy_n(average + first, kParameterSegment, values + first);
                   if (!params.mixed() || !(groups[segment] & kWorkingSegment)) continue;
                   dispatch_storage(params.working, [&]<class W>(TypeTag<W>) {
                     W* working = operands.working_weights.as<W>() + first;
                     for (std::int64_t i = 0; i < kParameterSegment; ++i)
                       working[i] = from_compute<W>(values[first + i]);
                   });
                 }
               });
}

}  // namespace

const MovingAverageRow moving_average_row{{"cpu", DeviceKind::cpu, true}, supports, step};

}  // namespace zeroth::cpu
