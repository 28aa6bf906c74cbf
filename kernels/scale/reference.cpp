#include "kernels/scale/scale.h"

namespace zeroth::reference {

namespace {

bool supports(const ScaleParams& params) {
  return params.dtype == DType::f64 || params.dtype == DType::f32;
}

void forward(Context&, const ScaleParams& params, ConstTensorView x_view, TensorView y_view, GradMode mode) {
  dispatch_reference(params.dtype, [&]<class T>(TypeTag<T>) {
    const T* x = x_view.as<T>();
    T* y = y_view.as<T>();
    const T factor = static_cast<T>(params.factor);
    for (std::int64_t i = 0; i < params.elements; ++i)
      y[i] = mode == GradMode::accumulate ? y[i] + factor * x[i] : factor * x[i];
  });
}

}  // namespace

const ScaleRow scale_row{{"reference", DeviceKind::cpu, true}, supports, forward};

}  // namespace zeroth::reference
