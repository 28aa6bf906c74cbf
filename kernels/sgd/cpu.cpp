#include "kernels/core/for_each_segment.h"
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

bool supports(const SgdParams& params) {
  return params.dtype == DType::f32;
}

template <Form kForm>
void update(const SgdParams& params, const FlatParameters& parameters, TensorView momentum_buffer) {
  float *w = parameters.weights.as<float>(), *buffer = momentum_buffer.as<float>();
  const auto momentum = static_cast<float>(params.momentum);
  for_each_segment(
      params, parameters,
      [=](std::int64_t first, const float* gradient, float learning_rate, float decay) {
        update_segment<kForm>(w + first, gradient, kForm == Form::plain ? nullptr : buffer + first,
                              {learning_rate, decay, momentum});
      },
      params.left_out);
}

void step(Context&, const SgdParams& params, const FlatParameters& parameters, TensorView momentum_buffer) {
  const auto run = params.momentum == 0.0 ? update<Form::plain>
                   : params.nesterov      ? update<Form::nesterov>
                                          : update<Form::momentum>;
  run(params, parameters, momentum_buffer);
}

}  // namespace

const SgdRow sgd_row{{"cpu", DeviceKind::cpu, true}, supports, step};

}  // namespace zeroth::cpu
