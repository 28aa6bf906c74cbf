#include "kernels/core/parallel.h"
#include "kernels/max_pool/max_pool.h"
#include "kernels/max_pool/window.h"

namespace zeroth::cpu {

namespace {

bool supports(const MaxPoolParams& params) {
  return params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16;
}

void forward(Context&, const MaxPoolParams& a, ConstTensorView x_view, TensorView y_view,
             TensorView winner_view) {
  dispatch_storage(a.dtype, [&]<class T>(TypeTag<T>) {
    const T* x = x_view.as<T>();
    T* y = y_view.as<T>();
    auto* winner = winner_view.as<std::uint8_t>();
    parallel_for(a.n * a.p(), a.q() * a.c * a.window, [=, &a](std::int64_t begin, std::int64_t end) {
      for (std::int64_t line = begin; line < end; ++line)
        for (std::int64_t q = 0; q < a.q(); ++q)
          for (std::int64_t c = 0; c < a.c; ++c) {
            const std::int64_t to = (line * a.q() + q) * a.c + c;
            pool_one(pool_window(a), x + line / a.p() * a.h * a.w * a.c, line % a.p(), q, c, y[to],
                     winner[to]);
          }
    });
  });
}

void backward(Context&, const MaxPoolParams& a, ConstTensorView dy_view, ConstTensorView winner_view,
              TensorView dx_view, GradMode mode) {
  dispatch_storage(a.dtype, [&]<class T>(TypeTag<T>) {
    const T* dy = dy_view.as<T>();
    const auto* winner = winner_view.as<std::uint8_t>();
    T* dx = dx_view.as<T>();
    parallel_for(a.n * a.h, a.w * a.c * a.window, [=, &a](std::int64_t begin, std::int64_t end) {
      for (std::int64_t line = begin; line < end; ++line)
        for (std::int64_t j = 0; j < a.w; ++j)
          for (std::int64_t c = 0; c < a.c; ++c) {
            T& to = dx[(line * a.w + j) * a.c + c];
            const float before = mode == GradMode::accumulate ? to_compute(to) : 0.0f;
            to = from_compute<T>(before + gathered(pool_window(a), dy, winner, line / a.h, line % a.h, j, c));
          }
    });
  });
}

}  // namespace

const MaxPoolRow max_pool_row{{"cpu", DeviceKind::cpu, true}, supports, forward, backward};

}  // namespace zeroth::cpu
