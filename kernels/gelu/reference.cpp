#include <cmath>
#include <numbers>

#include "kernels/gelu/gelu.h"

namespace zeroth::reference {

namespace {

bool supports(const GeluParams& params) {
  return params.dtype == DType::f64 || params.dtype == DType::f32;
}

/// By the complement: 1 + erf would lose the small values of a negative x.
template <class T>
T distribution(T x) {
  return std::erfc(-x / std::numbers::sqrt2_v<T>) / T{2};
}

template <class T>
T density(T x) {
  return std::exp(-x * x / T{2}) * std::numbers::inv_sqrtpi_v<T> / std::numbers::sqrt2_v<T>;
}

void forward(Context&, const GeluParams& params, ConstTensorView x_view, TensorView y_view) {
  dispatch_reference(params.dtype, [&]<class T>(TypeTag<T>) {
    const T* x = x_view.as<T>();
    T* y = y_view.as<T>();
    for (std::int64_t i = 0; i < params.elements; ++i) y[i] = x[i] * distribution(x[i]);
  });
}

void backward(Context&, const GeluParams& params, ConstTensorView dy_view, ConstTensorView x_view,
              TensorView dx_view, GradMode mode) {
  dispatch_reference(params.dtype, [&]<class T>(TypeTag<T>) {
    const T *dy = dy_view.as<T>(), *x = x_view.as<T>();
    T* dx = dx_view.as<T>();
    for (std::int64_t i = 0; i < params.elements; ++i) {
      const T gradient = dy[i] * (distribution(x[i]) + x[i] * density(x[i]));
      dx[i] = mode == GradMode::accumulate ? dx[i] + gradient : gradient;
    }
  });
}

}  // namespace

const GeluRow gelu_row{{"reference", DeviceKind::cpu, true}, supports, forward, backward};

}  // namespace zeroth::reference
