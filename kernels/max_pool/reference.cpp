#include "kernels/max_pool/max_pool.h"
#include "kernels/max_pool/window.h"

namespace zeroth::reference {

namespace {

bool supports(const MaxPoolParams& params) {
  return params.dtype == DType::f64 || params.dtype == DType::f32;
}

void forward(Context&, const MaxPoolParams& a, ConstTensorView x_view, TensorView y_view,
             TensorView winner_view) {
  dispatch_reference(a.dtype, [&]<class T>(TypeTag<T>) {
    const T* x = x_view.as<T>();
    T* y = y_view.as<T>();
    auto* winner = winner_view.as<std::uint8_t>();
    for (std::int64_t n = 0; n < a.n; ++n)
      for (std::int64_t p = 0; p < a.p(); ++p)
        for (std::int64_t q = 0; q < a.q(); ++q)
          for (std::int64_t c = 0; c < a.c; ++c, ++y, ++winner)
            pool_one(pool_window(a), x + n * a.h * a.w * a.c, p, q, c, *y, *winner);
  });
}

void backward(Context&, const MaxPoolParams& a, ConstTensorView dy_view, ConstTensorView winner_view,
              TensorView dx_view, GradMode mode) {
  dispatch_reference(a.dtype, [&]<class T>(TypeTag<T>) {
    const T* dy = dy_view.as<T>();
    const auto* winner = winner_view.as<std::uint8_t>();
    T* dx = dx_view.as<T>();
    for (std::int64_t n = 0; n < a.n; ++n)
      for (std::int64_t i = 0; i < a.h; ++i)
        for (std::int64_t j = 0; j < a.w; ++j)
          for (std::int64_t c = 0; c < a.c; ++c, ++dx) {
            const T gradient = gathered(pool_window(a), dy, winner, n, i, j, c);
            *dx = mode == GradMode::accumulate ? *dx + gradient : gradient;
          }
  });
}

}  // namespace

const MaxPoolRow max_pool_row{{"reference", DeviceKind::cpu, true}, supports, forward, backward};

}  // namespace zeroth::reference
