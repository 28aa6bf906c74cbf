#include "kernels/core/parallel.h"
#include "kernels/relu/relu.h"

namespace zeroth::cpu {

namespace {

bool supports(const ReluParams& params) {
  return params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16;
}

void forward(Context&, const ReluParams& params, ConstTensorView x_view, TensorView y_view) {
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    const T* x = x_view.as<T>();
    T* y = y_view.as<T>();
    parallel_for(params.elements, 1, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) y[i] = to_compute(x[i]) < 0.0f ? T{} : x[i];
    });
  });
}

void backward(Context&, const ReluParams& params, ConstTensorView dy_view, ConstTensorView y_view,
              TensorView dx_view, GradMode mode) {
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    const T *dy = dy_view.as<T>(), *y = y_view.as<T>();
    T* dx = dx_view.as<T>();
    parallel_for(params.elements, 1, [=](std::int64_t begin, std::int64_t end) {
      if (mode == GradMode::overwrite) {
        for (std::int64_t i = begin; i < end; ++i) dx[i] = to_compute(y[i]) > 0.0f ? dy[i] : T{};
      } else {
        for (std::int64_t i = begin; i < end; ++i)
          if (to_compute(y[i]) > 0.0f) dx[i] = from_compute<T>(to_compute(dx[i]) + to_compute(dy[i]));
      }
    });
  });
}

}  // namespace

const ReluRow relu_row{{"cpu", DeviceKind::cpu, true}, supports, forward, backward};

}  // namespace zeroth::cpu
