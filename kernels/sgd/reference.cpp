#include "kernels/sgd/sgd.h"

namespace zeroth::reference {

namespace {

bool supports(const SgdParams& params) {
  return params.dtype == DType::f64 || params.dtype == DType::f32;
}

template <class T, class W>
void update(const SgdParams& params, const FlatParameters& parameters, TensorView momentum_buffer) {
  T* w = parameters.weights.as<T>();
  const T* gradient = parameters.gradients.as<T>();
  T* buffer = momentum_buffer.as<T>();
  const std::uint8_t* group_of_segment = parameters.group_of_segment.as<std::uint8_t>();
  const T* rates = parameters.rates.as<T>();
  const T factor = parameters.gradient_factor ? *parameters.gradient_factor.as<T>() : T{1};
  if (factor < T{0}) return;
  const T momentum = static_cast<T>(params.momentum);
  for (std::int64_t i = 0; i < params.elements; ++i) {
    const int byte = group_of_segment[i / kParameterSegment];
    if ((byte & ~kWorkingSegment) == params.left_out) continue;
    const T* rate = rates + 2 * (byte & ~kWorkingSegment);
    const T learning_rate = rate[0], decay = rate[1];
    const bool working = !std::is_void_v<W> && byte & kWorkingSegment;
    T g = gradient[i];
    if constexpr (!std::is_void_v<W>)
      if (working) g = to_compute(parameters.working_gradients.as<W>()[i]);
    g *= factor;
    g += decay * w[i];
    T move = g;
    if (momentum != T{0}) {
      buffer[i] = momentum * buffer[i] + g;
      move = params.nesterov ? g + momentum * buffer[i] : buffer[i];
    }
    w[i] -= learning_rate * move;
    if constexpr (!std::is_void_v<W>)
      if (working) parameters.working_weights.as<W>()[i] = from_compute<W>(static_cast<float>(w[i]));
  }
}

void step(Context&, const SgdParams& params, const FlatParameters& parameters, TensorView momentum_buffer) {
  dispatch_reference(params.dtype, [&]<class T>(TypeTag<T>) {
    dispatch_working(params, [&]<class W>(TypeTag<W>) { update<T, W>(params, parameters, momentum_buffer); });
  });
}

}  // namespace

const SgdRow sgd_row{{"reference", DeviceKind::cpu, true}, supports, step};

}  // namespace zeroth::reference
