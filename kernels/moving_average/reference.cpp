#include "kernels/moving_average/decide.h"

namespace zeroth::reference {

namespace {

bool supports(const MovingAverageParams& params) {
  return params.dtype == DType::f64 || params.dtype == DType::f32;
}

template <class T>
void update(const MovingAverageParams& params, const MovingAverageOperands& operands) {
  const T share = share_of_step(params.every, params.warm_up, *operands.share.as<T>(),
                                operands.updates.as<std::int32_t>(), operands.gradient_factor.as<T>());
  if (share < T{0}) return;
  T *values = operands.values.as<T>(), *average = operands.average.as<T>();
  for (std::int64_t i = 0; i < params.elements; ++i) {
    if (share > T{0}) average[i] += share * (values[i] - average[i]);
    if (!params.write_back) continue;
    values[i] = average[i];
    if (!params.mixed()) continue;
    if (!(operands.group_of_segment.as<std::uint8_t>()[i / kParameterSegment] & kWorkingSegment)) continue;
    dispatch_storage(params.working, [&]<class W>(TypeTag<W>) {
      operands.working_weights.as<W>()[i] = from_compute<W>(static_cast<float>(values[i]));
    });
  }
}

void step(Context&, const MovingAverageParams& params, const MovingAverageOperands& operands) {
  dispatch_reference(params.dtype, [&]<class T>(TypeTag<T>) { update<T>(params, operands); });
}

}  // namespace

const MovingAverageRow moving_average_row{{"reference", DeviceKind::cpu, true}, supports, step};

}  // namespace zeroth::reference
