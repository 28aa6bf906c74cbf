#include <cmath>

#include "kernels/core/parallel.h"
#include "kernels/gelu/gelu.h"

namespace zeroth::cpu {

namespace {

/// An error function is worth this many of parallel_for's elements.
constexpr std::int64_t kErrorFunctionCost = 16;

bool supports(const GeluParams& params) {
  return params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16;
}

float distribution(float x) {
  return 0.5f * std::erfc(-0.70710678f * x);
}

// Sums of products are fused by name: left to the compiler, the end of a thread's range would round otherwise
// than its vectors do.
float slope(float x) {
  return std::fma(x * 0.39894228f, std::exp(-0.5f * x * x), distribution(x));
}

void forward(Context&, const GeluParams& params, ConstTensorView x_view, TensorView y_view) {
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    const T* x = x_view.as<T>();
    T* y = y_view.as<T>();
    parallel_for(params.elements, kErrorFunctionCost, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const float value = to_compute(x[i]);
        y[i] = from_compute<T>(value * distribution(value));
      }
    });
  });
}

void backward(Context&, const GeluParams& params, ConstTensorView dy_view, ConstTensorView x_view,
              TensorView dx_view, GradMode mode) {
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    const T *dy = dy_view.as<T>(), *x = x_view.as<T>();
    T* dx = dx_view.as<T>();
    parallel_for(params.elements, kErrorFunctionCost, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const float before = mode == GradMode::accumulate ? to_compute(dx[i]) : 0.0f;
        dx[i] = from_compute<T>(std::fma(to_compute(dy[i]), slope(to_compute(x[i])), before));
      }
    });
  });
}

}  // namespace

const GeluRow gelu_row{{"cpu", DeviceKind::cpu, true}, supports, forward, backward};

}  // namespace zeroth::cpu
