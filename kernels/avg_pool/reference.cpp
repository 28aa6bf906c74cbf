#include "kernels/avg_pool/avg_pool.h"

namespace zeroth::reference {

namespace {

bool supports(const AvgPoolParams& params) {
  return params.dtype == DType::f64 || params.dtype == DType::f32;
}

void forward(Context&, const AvgPoolParams& a, ConstTensorView x_view, TensorView y_view) {
  dispatch_reference(a.dtype, [&]<class T>(TypeTag<T>) {
    const T* x = x_view.as<T>();
    T* y = y_view.as<T>();
    const std::int64_t pixels = a.h * a.w;
    for (std::int64_t n = 0; n < a.n; ++n)
      for (std::int64_t c = 0; c < a.c; ++c) {
        T sum{};
        for (std::int64_t pixel = 0; pixel < pixels; ++pixel) sum += x[(n * pixels + pixel) * a.c + c];
        y[n * a.c + c] = sum / static_cast<T>(pixels);
      }
  });
}

void backward(Context&, const AvgPoolParams& a, ConstTensorView dy_view, TensorView dx_view, GradMode mode) {
  dispatch_reference(a.dtype, [&]<class T>(TypeTag<T>) {
    const T* dy = dy_view.as<T>();
    T* dx = dx_view.as<T>();
    const std::int64_t pixels = a.h * a.w;
    for (std::int64_t n = 0; n < a.n; ++n)
      for (std::int64_t pixel = 0; pixel < pixels; ++pixel)
        for (std::int64_t c = 0; c < a.c; ++c) {
          T& to = dx[(n * pixels + pixel) * a.c + c];
          const T gradient = dy[n * a.c + c] / static_cast<T>(pixels);
          to = mode == GradMode::accumulate ? to + gradient : gradient;
        }
  });
}

}  // namespace

const AvgPoolRow avg_pool_row{{"reference", DeviceKind::cpu, true}, supports, forward, backward};

}  // namespace zeroth::reference
