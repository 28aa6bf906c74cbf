#include "kernels/linear/linear.h"

namespace zeroth::reference {

namespace {

bool supports(const LinearParams& params) {
  return params.dtype == DType::f64 || params.dtype == DType::f32;
}

std::size_t workspace(Context&, const LinearParams&) {
  return 0;
}

template <class T>
void write(T& to, T value, GradMode mode) {
  to = mode == GradMode::accumulate ? to + value : value;
}

void forward(Context&, const LinearParams& a, ConstTensorView x_view, ConstTensorView w_view,
             ConstTensorView bias_view, TensorView y_view, Workspace) {
  dispatch_reference(a.dtype, [&]<class T>(TypeTag<T>) {
    const T *x = x_view.as<T>(), *w = w_view.as<T>(), *bias = bias_view.as<T>();
    T* y = y_view.as<T>();
    for (std::int64_t n = 0; n < a.n; ++n)
      for (std::int64_t k = 0; k < a.k; ++k) {
        T sum = bias[k];
        for (std::int64_t c = 0; c < a.c; ++c) sum += x[n * a.c + c] * w[k * a.c + c];
        y[n * a.k + k] = sum;
      }
  });
}

void backward_data(Context&, const LinearParams& a, ConstTensorView dy_view, ConstTensorView w_view,
                   TensorView dx_view, GradMode mode, Workspace) {
  dispatch_reference(a.dtype, [&]<class T>(TypeTag<T>) {
    const T *dy = dy_view.as<T>(), *w = w_view.as<T>();
    T* dx = dx_view.as<T>();
    for (std::int64_t n = 0; n < a.n; ++n)
      for (std::int64_t c = 0; c < a.c; ++c) {
        T sum{};
        for (std::int64_t k = 0; k < a.k; ++k) sum += dy[n * a.k + k] * w[k * a.c + c];
        write(dx[n * a.c + c], sum, mode);
      }
  });
}

void backward_weight(Context&, const LinearParams& a, ConstTensorView x_view, ConstTensorView dy_view,
                     TensorView dw_view, TensorView dbias_view, GradMode mode, Workspace) {
  dispatch_reference(a.dtype, [&]<class T>(TypeTag<T>) {
    const T *x = x_view.as<T>(), *dy = dy_view.as<T>();
    T *dw = dw_view.as<T>(), *dbias = dbias_view.as<T>();
    for (std::int64_t k = 0; k < a.k; ++k) {
      for (std::int64_t c = 0; c < a.c; ++c) {
        T sum{};
        for (std::int64_t n = 0; n < a.n; ++n) sum += dy[n * a.k + k] * x[n * a.c + c];
        write(dw[k * a.c + c], sum, mode);
      }
      T sum{};
      for (std::int64_t n = 0; n < a.n; ++n) sum += dy[n * a.k + k];
      write(dbias[k], sum, mode);
    }
  });
}

}  // namespace

const LinearRow linear_row{
    {"reference", DeviceKind::cpu, true}, supports, workspace, forward, backward_data, backward_weight};

}  // namespace zeroth::reference
