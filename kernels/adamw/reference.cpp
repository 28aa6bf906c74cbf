#include <cmath>

#include "kernels/adamw/adamw.h"

namespace zeroth::reference {

namespace {

bool supports(const AdamwParams& params) {
  return params.dtype == DType::f64 || params.dtype == DType::f32;
}

template <class T, class W>
void update(const AdamwParams& params, const FlatParameters& parameters, TensorView m_view, TensorView v_view,
            ConstTensorView step_view) {
  T *w = parameters.weights.as<T>(), *m = m_view.as<T>(), *v = v_view.as<T>();
  const T* gradient = parameters.gradients.as<T>();
  const std::uint8_t* group_of_segment = parameters.group_of_segment.as<std::uint8_t>();
  const T* rates = parameters.rates.as<T>();
  const T factor = parameters.gradient_factor ? *parameters.gradient_factor.as<T>() : T{1};
  if (factor < T{0}) return;
  const double t = *step_view.as<std::int32_t>();
  const T correction1 = static_cast<T>(1.0 - std::pow(params.beta1, t));
  const T correction2 = static_cast<T>(1.0 - std::pow(params.beta2, t));
  const T beta1 = static_cast<T>(params.beta1), beta2 = static_cast<T>(params.beta2);
  const T rest1 = static_cast<T>(1.0 - params.beta1), rest2 = static_cast<T>(1.0 - params.beta2);
  for (std::int64_t i = 0; i < params.elements; ++i) {
    const int byte = group_of_segment[i / kParameterSegment];
    const T* rate = rates + 2 * (byte & ~kWorkingSegment);
    const T learning_rate = rate[0], decay = rate[1];
    const bool working = !std::is_void_v<W> && byte & kWorkingSegment;
    T g = gradient[i];
    if constexpr (!std::is_void_v<W>)
      if (working) g = to_compute(parameters.working_gradients.as<W>()[i]);
    g *= factor;
    if (params.decoupled)
      w[i] -= learning_rate * decay * w[i];
    else
      g += decay * w[i];
    m[i] = beta1 * m[i] + rest1 * g;
    v[i] = beta2 * v[i] + rest2 * g * g;
    w[i] -=
        learning_rate * (m[i] / correction1) / (std::sqrt(v[i] / correction2) + static_cast<T>(params.eps));
    if constexpr (!std::is_void_v<W>)
      if (working) parameters.working_weights.as<W>()[i] = from_compute<W>(static_cast<float>(w[i]));
  }
}

void step(Context&, const AdamwParams& params, const FlatParameters& parameters, TensorView m, TensorView v,
          ConstTensorView step_view) {
  dispatch_reference(params.dtype, [&]<class T>(TypeTag<T>) {
    dispatch_working(params, [&]<class W>(TypeTag<W>) { update<T, W>(params, parameters, m, v, step_view); });
  });
}

}  // namespace

const AdamwRow adamw_row{{"reference", DeviceKind::cpu, true}, supports, step};

}  // namespace zeroth::reference
