#include "kernels/sgd/sgd.h"

namespace zeroth::reference {

namespace {

bool supports(const SgdParams& params) {
  return params.dtype == DType::f64 || params.dtype == DType::f32;
}

void step(Context&, const SgdParams& params, TensorView weights, ConstTensorView gradients,
          TensorView momentum_buffer, ConstTensorView group_of_segment, ConstTensorView rates) {
  dispatch_reference(params.dtype, [&]<class T>(TypeTag<T>) {
    T* w = weights.as<T>();
    const T* gradient = gradients.as<T>();
    T* buffer = momentum_buffer.as<T>();
    const std::uint8_t* group = group_of_segment.as<std::uint8_t>();
    const T* rate = rates.as<T>();
    const T momentum = static_cast<T>(params.momentum);
    for (std::int64_t i = 0; i < params.elements; ++i) {
      const T* group_rate = rate + 2 * group[i / kParameterSegment];
      const T learning_rate = group_rate[0], decay = group_rate[1];
      const T g = gradient[i] + decay * w[i];
      T move = g;
      if (momentum != T{0}) {
        buffer[i] = momentum * buffer[i] + g;
        move = params.nesterov ? g + momentum * buffer[i] : buffer[i];
      }
      w[i] -= learning_rate * move;
    }
  });
}

}  // namespace

const SgdRow sgd_row{{"reference", DeviceKind::cpu, true}, supports, step};

}  // namespace zeroth::reference
