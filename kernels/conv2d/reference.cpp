#include "kernels/conv2d/conv2d.h"

namespace zeroth::reference {

namespace {

bool supports(const Conv2dParams& params, Conv2dPass) {
  return params.dtype == DType::f64 || params.dtype == DType::f32;
}

std::size_t workspace(Context&, const Conv2dParams&, Conv2dPass, GradMode) {
  return 0;
}

/// Calls tap(x index, w index, y index) for every product of the sum, y outermost.
template <class Tap>
void for_each_tap(const Conv2dParams& a, Tap&& tap) {
  for (std::int64_t n = 0; n < a.n; ++n)
    for (std::int64_t p = 0; p < a.p(); ++p)
      for (std::int64_t q = 0; q < a.q(); ++q)
        for (std::int64_t k = 0; k < a.k; ++k)
          for (std::int64_t r = 0; r < a.r; ++r)
            for (std::int64_t s = 0; s < a.s; ++s) {
              const std::int64_t i = p * a.stride - a.padding + r, j = q * a.stride - a.padding + s;
              if (i < 0 || i >= a.h || j < 0 || j >= a.w) continue;
              for (std::int64_t c = 0; c < a.c; ++c)
                tap(((n * a.h + i) * a.w + j) * a.c + c, ((k * a.r + r) * a.s + s) * a.c + c,
                    ((n * a.p() + p) * a.q() + q) * a.k + k);
            }
}

template <class T>
void clear_unless_accumulating(T* data, std::int64_t count, GradMode mode) {
  if (mode == GradMode::overwrite)
    for (std::int64_t i = 0; i < count; ++i) data[i] = T{0};
}

void forward(Context&, const Conv2dParams& params, ConstTensorView x_view, ConstTensorView w_view,
             TensorView y_view, Workspace) {
  dispatch_reference(params.dtype, [&]<class T>(TypeTag<T>) {
    const T *x = x_view.as<T>(), *w = w_view.as<T>();
    T* y = y_view.as<T>();
    clear_unless_accumulating(y, y_view.elements(), GradMode::overwrite);
    for_each_tap(params, [=](std::int64_t xi, std::int64_t wi, std::int64_t yi) { y[yi] += x[xi] * w[wi]; });
  });
}

void backward_data(Context&, const Conv2dParams& params, ConstTensorView dy_view, ConstTensorView w_view,
                   TensorView dx_view, GradMode mode, Workspace) {
  dispatch_reference(params.dtype, [&]<class T>(TypeTag<T>) {
    const T *dy = dy_view.as<T>(), *w = w_view.as<T>();
    T* dx = dx_view.as<T>();
    clear_unless_accumulating(dx, dx_view.elements(), mode);
    for_each_tap(params,
                 [=](std::int64_t xi, std::int64_t wi, std::int64_t yi) { dx[xi] += dy[yi] * w[wi]; });
  });
}

void backward_weight(Context&, const Conv2dParams& params, ConstTensorView x_view, ConstTensorView dy_view,
                     TensorView dw_view, GradMode mode, Workspace) {
  dispatch_reference(params.dtype, [&]<class T>(TypeTag<T>) {
    const T *x = x_view.as<T>(), *dy = dy_view.as<T>();
    T* dw = dw_view.as<T>();
    clear_unless_accumulating(dw, dw_view.elements(), mode);
    for_each_tap(params,
                 [=](std::int64_t xi, std::int64_t wi, std::int64_t yi) { dw[wi] += dy[yi] * x[xi]; });
  });
}

}  // namespace

const Conv2dRow conv2d_row{
    {"reference", DeviceKind::cpu, true}, supports, workspace, forward, backward_data, backward_weight};

}  // namespace zeroth::reference
