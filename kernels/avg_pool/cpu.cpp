#include <vector>

#include "kernels/avg_pool/avg_pool.h"
#include "kernels/core/parallel.h"

namespace zeroth::cpu {

namespace {

bool supports(const AvgPoolParams& params) {
  return params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16;
}

void forward(Context&, const AvgPoolParams& a, ConstTensorView x_view, TensorView y_view) {
  dispatch_storage(a.dtype, [&]<class T>(TypeTag<T>) {
    const T* x = x_view.as<T>();
    T* y = y_view.as<T>();
    const std::int64_t pixels = a.h * a.w;
    parallel_for(a.n, pixels * a.c, [=](std::int64_t begin, std::int64_t end) {
      std::vector<float> sums(static_cast<std::size_t>(a.c));
      for (std::int64_t n = begin; n < end; ++n) {
        std::fill(sums.begin(), sums.end(), 0.0f);
        const T* from = x + n * pixels * a.c;
        for (std::int64_t pixel = 0; pixel < pixels; ++pixel, from += a.c)
          for (std::int64_t c = 0; c < a.c; ++c) sums[static_cast<std::size_t>(c)] += to_compute(from[c]);
        for (std::int64_t c = 0; c < a.c; ++c)
          y[n * a.c + c] = from_compute<T>(sums[static_cast<std::size_t>(c)] / static_cast<float>(pixels));
      }
    });
  });
}

void backward(Context&, const AvgPoolParams& a, ConstTensorView dy_view, TensorView dx_view, GradMode mode) {
  dispatch_storage(a.dtype, [&]<class T>(TypeTag<T>) {
    const T* dy = dy_view.as<T>();
    T* dx = dx_view.as<T>();
    const std::int64_t pixels = a.h * a.w;
    const float pixels_as_float = static_cast<float>(pixels);
    parallel_for(a.n, pixels * a.c, [=](std::int64_t begin, std::int64_t end) {
      std::vector<float> row(static_cast<std::size_t>(a.c));
      for (std::int64_t n = begin; n < end; ++n) {
        for (std::int64_t c = 0; c < a.c; ++c)
          row[static_cast<std::size_t>(c)] = to_compute(dy[n * a.c + c]) / pixels_as_float;
        T* to = dx + n * pixels * a.c;
        for (std::int64_t pixel = 0; pixel < pixels; ++pixel, to += a.c)
          for (std::int64_t c = 0; c < a.c; ++c) {
            const float before = mode == GradMode::accumulate ? to_compute(to[c]) : 0.0f;
            to[c] = from_compute<T>(before + row[static_cast<std::size_t>(c)]);
          }
      }
    });
  });
}

}  // namespace

const AvgPoolRow avg_pool_row{{"cpu", DeviceKind::cpu, true}, supports, forward, backward};

}  // namespace zeroth::cpu
