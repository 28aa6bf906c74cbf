#include <cmath>

#include "kernels/adamw/adamw.h"

namespace zeroth::reference {

namespace {

bool supports(const AdamwParams& params) {
  return params.dtype == DType::f64 || params.dtype == DType::f32;
}

void step(Context&, const AdamwParams& params, TensorView weights, ConstTensorView gradients,
          TensorView m_view, TensorView v_view, ConstTensorView group_of_segment, ConstTensorView rates,
          ConstTensorView step_view) {
  dispatch_reference(params.dtype, [&]<class T>(TypeTag<T>) {
    T *w = weights.as<T>(), *m = m_view.as<T>(), *v = v_view.as<T>();
    const T* gradient = gradients.as<T>();
    const std::uint8_t* group = group_of_segment.as<std::uint8_t>();
    const T* rate = rates.as<T>();
    const double t = *step_view.as<std::int32_t>();
    const T correction1 = static_cast<T>(1.0 - std::pow(params.beta1, t));
    const T correction2 = static_cast<T>(1.0 - std::pow(params.beta2, t));
    const T beta1 = static_cast<T>(params.beta1), beta2 = static_cast<T>(params.beta2);
    const T rest1 = static_cast<T>(1.0 - params.beta1), rest2 = static_cast<T>(1.0 - params.beta2);
    for (std::int64_t i = 0; i < params.elements; ++i) {
      const T* group_rate = rate + 2 * group[i / kParameterSegment];
      const T learning_rate = group_rate[0], decay = group_rate[1];
      T g = gradient[i];
      if (params.decoupled)
        w[i] -= learning_rate * decay * w[i];
      else
        g += decay * w[i];
      m[i] = beta1 * m[i] + rest1 * g;
      v[i] = beta2 * v[i] + rest2 * g * g;
      w[i] -=
          learning_rate * (m[i] / correction1) / (std::sqrt(v[i] / correction2) + static_cast<T>(params.eps));
    }
  });
}

}  // namespace

const AdamwRow adamw_row{{"reference", DeviceKind::cpu, true}, supports, step};

}  // namespace zeroth::reference
