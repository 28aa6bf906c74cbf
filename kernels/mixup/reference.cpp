#include <algorithm>

#include "kernels/mixup/mixup.h"

namespace zeroth::reference {

namespace {

bool supports(const MixupParams& params) {
  return params.dtype == DType::f64 || params.dtype == DType::f32;
}

void forward(Context&, const MixupParams& params, TensorView x_view, ConstTensorView labels,
             ConstTensorView share_view, TensorView other_labels) {
  dispatch_reference(params.dtype, [&]<class T>(TypeTag<T>) {
    const T share = *share_view.as<T>();
    for (std::int64_t i = 0; i < params.n / 2; ++i) {
      T* one = x_view.as<T>() + i * params.row_elements;
      T* other = x_view.as<T>() + (params.n - 1 - i) * params.row_elements;
      for (std::int64_t k = 0; k < params.row_elements; ++k) {
        const T a = one[k], b = other[k];
        one[k] = share * a + (T{1} - share) * b;
        other[k] = share * b + (T{1} - share) * a;
      }
    }
  });
  std::reverse_copy(labels.as<std::int32_t>(), labels.as<std::int32_t>() + params.n,
                    other_labels.as<std::int32_t>());
}

}  // namespace

const MixupRow mixup_row{{"reference", DeviceKind::cpu, true}, supports, forward};

}  // namespace zeroth::reference
