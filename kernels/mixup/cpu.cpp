#include <algorithm>
#include <cmath>

#include "kernels/core/parallel.h"
#include "kernels/mixup/mixup.h"

namespace zeroth::cpu {

namespace {

bool supports(const MixupParams& params) {
  return params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16;
}

void forward(Context&, const MixupParams& params, TensorView x_view, ConstTensorView labels,
             ConstTensorView share_view, TensorView other_labels) {
  const float share = *share_view.as<float>(), rest = 1.0f - share;
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    T* x = x_view.as<T>();
    parallel_for(params.n / 2, 2 * params.row_elements, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        T *one = x + i * params.row_elements, *other = x + (params.n - 1 - i) * params.row_elements;
        for (std::int64_t k = 0; k < params.row_elements; ++k) {
          const float a = to_compute(one[k]), b = to_compute(other[k]);
          one[k] = from_compute<T>(std::fma(share, a, rest * b));
          other[k] = from_compute<T>(std::fma(share, b, rest * a));
        }
      }
    });
  });
  std::reverse_copy(labels.as<std::int32_t>(), labels.as<std::int32_t>() + params.n,
                    other_labels.as<std::int32_t>());
}

}  // namespace

const MixupRow mixup_row{{"cpu", DeviceKind::cpu, true}, supports, forward};

}  // namespace zeroth::cpu
