#include <cmath>
#include <limits>

#include "kernels/reduce/reduce.h"

namespace zeroth::reference {

namespace {

bool supports(const ReduceParams& params) {
  return params.dtype == DType::f64 || params.dtype == DType::f32;
}

std::size_t workspace(Context&, const ReduceParams&) {
  return 0;
}

template <class T>
double reduce(Reduction reduction, const T* x, std::int64_t elements) {
  double result = 0.0;
  for (std::int64_t i = 0; i < elements; ++i) {
    const auto value = static_cast<double>(x[i]);
    switch (reduction) {
      case Reduction::sum:
        result += value;
        break;
      case Reduction::sum_of_squares:
        result += value * value;
        break;
      case Reduction::max_abs:
        if (std::isnan(value)) return std::numeric_limits<double>::quiet_NaN();
        result = std::fmax(result, std::fabs(value));
        break;
      case Reduction::count_nonfinite:
        result += std::isfinite(value) ? 0.0 : 1.0;
        break;
    }
  }
  return result;
}

void forward(Context&, const ReduceParams& params, ConstTensorView x, TensorView result, Workspace) {
  dispatch_reference(params.dtype, [&]<class T>(TypeTag<T>) {
    *result.as<T>() = static_cast<T>(reduce(params.reduction, x.as<T>(), params.elements));
  });
}

}  // namespace

const ReduceRow reduce_row{{"reference", DeviceKind::cpu, true}, supports, workspace, forward};

}  // namespace zeroth::reference
