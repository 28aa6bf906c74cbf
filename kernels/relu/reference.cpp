#include "kernels/relu/relu.h"

namespace zeroth::reference {

namespace {

bool supports(const ReluParams& params) {
  return params.dtype == DType::f64 || params.dtype == DType::f32;
}

void forward(Context&, const ReluParams& params, ConstTensorView x_view, TensorView y_view) {
  dispatch_reference(params.dtype, [&]<class T>(TypeTag<T>) {
    const T* x = x_view.as<T>();
    T* y = y_view.as<T>();
    for (std::int64_t i = 0; i < params.elements; ++i) y[i] = x[i] < T{0} ? T{0} : x[i];
  });
}

void backward(Context&, const ReluParams& params, ConstTensorView dy_view, ConstTensorView y_view,
              TensorView dx_view, GradMode mode) {
  dispatch_reference(params.dtype, [&]<class T>(TypeTag<T>) {
    const T *dy = dy_view.as<T>(), *y = y_view.as<T>();
    T* dx = dx_view.as<T>();
    for (std::int64_t i = 0; i < params.elements; ++i) {
      const T gradient = y[i] > T{0} ? dy[i] : T{0};
      dx[i] = mode == GradMode::accumulate ? dx[i] + gradient : gradient;
    }
  });
}

}  // namespace

const ReluRow relu_row{{"reference", DeviceKind::cpu, true}, supports, forward, backward};

}  // namespace zeroth::reference
