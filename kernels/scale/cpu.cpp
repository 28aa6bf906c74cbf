#include <cmath>

#include "kernels/core/parallel.h"
#include "kernels/scale/scale.h"

namespace zeroth::cpu {

namespace {

bool supports(const ScaleParams& params) {
  return params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16;
}

void forward(Context&, const ScaleParams& params, ConstTensorView x_view, TensorView y_view, GradMode mode) {
  const auto factor = static_cast<float>(params.factor);
  const bool adds = mode == GradMode::accumulate;
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    const T* x = x_view.as<T>();
    T* y = y_view.as<T>();
    parallel_for(params.elements, 1, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        // Fused by name: left to the compiler, the end of a thread's range might round otherwise than its
        // vectors do.
        y[i] = from_compute<T>(std::fma(factor, to_compute(x[i]), adds ? to_compute(y[i]) : 0.0f));
      }
    });
  });
}

}  // namespace

const ScaleRow scale_row{{"cpu", DeviceKind::cpu, true}, supports, forward};

}  // namespace zeroth::cpu
