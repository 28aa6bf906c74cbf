// A moving average over one flat f32 buffer, for EMA and Lookahead of weights.
// Bytes moved: 12 an element (read value and average, write the average), 16 where the average is written
// back, and 2 more for a 16-bit working weight; none in the steps between. Bound by memory: a thread moves 16
// bytes at a time. Share, step number and the guard's verdict are read from device memory by every thread,
// one request a warp each, so that a captured step replays. Polyak and Juditsky, "Acceleration of stochastic
// approximation by averaging" (1992); Zhang et al., "Lookahead optimizer: k steps forward, 1 step back"
// (2019).

#include <type_traits>

#include "kernels/core/flat_parameters.cuh"
#include "kernels/moving_average/decide.h"

namespace zeroth::ZEROTH_NATIVE {

namespace {

constexpr int kThreads = 256;

struct Pointers {
  float *values, *average;
  const float* share;
  const std::int32_t* updates;
  const float* gradient_factor;
  const std::uint8_t* group_of_segment;
};

/// W: the working dtype where there are working weights, else void.
template <class W, bool kWriteBack>
__global__ void __launch_bounds__(kThreads)
    moving_average_kernel(Pointers flat, W* working_weights, std::int64_t every, bool warm_up,
                          std::int64_t elements) {
  const float share = share_of_step(every, warm_up, *flat.share, flat.updates, flat.gradient_factor);
  if (share < 0.0f) return;
  const std::int64_t threads = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t index = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
       index < elements / kParameterPack; index += threads) {
    const std::int64_t i = index * kParameterPack;
    auto average = load_pack<kParameterPack>(flat.average + i);
    if (share > 0.0f) {
      const auto value = load_pack<kParameterPack>(flat.values + i);
      for (int e = 0; e < kParameterPack; ++e)
        average.value[e] += share * (value.value[e] - average.value[e]);
      store_pack(flat.average + i, average);
    }
    if constexpr (kWriteBack) store_pack(flat.values + i, average);
    if constexpr (!std::is_void_v<W>) {
      if (!(flat.group_of_segment[i / kParameterSegment] & kWorkingSegment)) continue;
      Pack<W, kParameterPack> narrow;
      for (int e = 0; e < kParameterPack; ++e) narrow.value[e] = from_compute<W>(average.value[e]);
      store_pack(working_weights + i, narrow);
    }
  }
}

bool supports(const MovingAverageParams& params) {
  return params.dtype == DType::f32;
}

template <class W, bool kWriteBack>
void launch_step(Context& context, const MovingAverageParams& params, const Pointers& flat,
                 W* working_weights) {
  launch(moving_average_kernel<W, kWriteBack>, dim3(blocks_for(params.elements / kParameterPack, kThreads)),
         dim3(kThreads), 0, context.stream(), flat, working_weights, params.every, params.warm_up,
         params.elements);
}

void step(Context& context, const MovingAverageParams& params, const MovingAverageOperands& operands) {
  if (params.elements == 0) return;
  const Pointers flat{operands.values.as<float>(),          operands.average.as<float>(),
                      operands.share.as<float>(),           operands.updates.as<std::int32_t>(),
                      operands.gradient_factor.as<float>(), operands.group_of_segment.as<std::uint8_t>()};
  if (!params.write_back)
    launch_step<void, false>(context, params, flat, nullptr);
  else if (!params.mixed())
    launch_step<void, true>(context, params, flat, nullptr);
  else
    dispatch_storage(params.working, [&]<class W>(TypeTag<W>) {
      launch_step<W, true>(context, params, flat, operands.working_weights.as<W>());
    });
}

}  // namespace

const MovingAverageRow moving_average_row{{"native", kNativeDevice, true}, supports, step};

}  // namespace zeroth::ZEROTH_NATIVE
