#include "kernels/shortcut_a/shortcut_a.h"

namespace zeroth::reference {

namespace {

bool supports(const ShortcutAParams& params) {
  return params.dtype == DType::f64 || params.dtype == DType::f32;
}

void forward(Context&, const ShortcutAParams& a, ConstTensorView x_view, TensorView y_view) {
  dispatch_reference(a.dtype, [&]<class T>(TypeTag<T>) {
    const T* x = x_view.as<T>();
    T* y = y_view.as<T>();
    const std::int64_t before = (a.k - a.c) / 2;
    for (std::int64_t n = 0; n < a.n; ++n)
      for (std::int64_t p = 0; p < a.p(); ++p)
        for (std::int64_t q = 0; q < a.q(); ++q)
          for (std::int64_t k = 0; k < a.k; ++k) {
            const std::int64_t c = k - before;
            y[((n * a.p() + p) * a.q() + q) * a.k + k] =
                c >= 0 && c < a.c ? x[((n * a.h + 2 * p) * a.w + 2 * q) * a.c + c] : T{0};
          }
  });
}

void backward(Context&, const ShortcutAParams& a, ConstTensorView dy_view, TensorView dx_view,
              GradMode mode) {
  dispatch_reference(a.dtype, [&]<class T>(TypeTag<T>) {
    const T* dy = dy_view.as<T>();
    T* dx = dx_view.as<T>();
    const std::int64_t before = (a.k - a.c) / 2;
    for (std::int64_t n = 0; n < a.n; ++n)
      for (std::int64_t i = 0; i < a.h; ++i)
        for (std::int64_t j = 0; j < a.w; ++j)
          for (std::int64_t c = 0; c < a.c; ++c) {
            const bool read = i % 2 == 0 && j % 2 == 0;
            const T gradient = read ? dy[((n * a.p() + i / 2) * a.q() + j / 2) * a.k + before + c] : T{0};
            T& to = dx[((n * a.h + i) * a.w + j) * a.c + c];
            to = mode == GradMode::accumulate ? to + gradient : gradient;
          }
  });
}

}  // namespace

const ShortcutARow shortcut_a_row{{"reference", DeviceKind::cpu, true}, supports, forward, backward};

}  // namespace zeroth::reference
