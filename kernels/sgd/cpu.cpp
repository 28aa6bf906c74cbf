#include "kernels/core/parallel.h"
#include "kernels/sgd/sgd.h"

namespace zeroth::cpu {

namespace {

enum class Form { plain, momentum, nesterov };

struct Rates {
  float learning_rate, decay, momentum;
};

/// One segment, whose rates are constant: a loop of fixed length without branches, which vectorises.
template <Form kForm>
void update_segment(float* __restrict w, const float* __restrict gradient, float* __restrict buffer,
                    Rates rates) {
  for (std::int64_t i = 0; i < kParameterSegment; ++i) {
    const float g = gradient[i] + rates.decay * w[i];
    if constexpr (kForm == Form::plain) {
      w[i] -= rates.learning_rate * g;
    } else {
      const float b = rates.momentum * buffer[i] + g;
      buffer[i] = b;
      w[i] -= rates.learning_rate * (kForm == Form::nesterov ? g + rates.momentum * b : b);
    }
  }
}

template <Form kForm>
void update(const SgdParams& params, float* w, const float* gradient, float* buffer,
            const std::uint8_t* group, const float* rate) {
  const auto momentum = static_cast<float>(params.momentum);
  parallel_for(
      params.elements / kParameterSegment, kParameterSegment, [=](std::int64_t begin, std::int64_t end) {
        for (std::int64_t segment = begin; segment < end; ++segment) {
          const std::int64_t first = segment * kParameterSegment;
          const float* group_rate = rate + 2 * group[segment];
          update_segment<kForm>(w + first, gradient + first, kForm == Form::plain ? nullptr : buffer + first,
                                {group_rate[0], group_rate[1], momentum});
        }
      });
}

bool supports(const SgdParams& params) {
  return params.dtype == DType::f32;
}

void step(Context&, const SgdParams& params, TensorView weights, ConstTensorView gradients,
          TensorView momentum_buffer, ConstTensorView group_of_segment, ConstTensorView rates) {
  const auto run = params.momentum == 0.0 ? update<Form::plain>
                   : params.nesterov      ? update<Form::nesterov>
                                          : update<Form::momentum>;
  run(params, weights.as<float>(), gradients.as<float>(), momentum_buffer.as<float>(),
      group_of_segment.as<std::uint8_t>(), rates.as<float>());
}

}  // namespace

const SgdRow sgd_row{{"cpu", DeviceKind::cpu, true}, supports, step};

}  // namespace zeroth::cpu
