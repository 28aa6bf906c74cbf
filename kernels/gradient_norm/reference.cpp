#include <cmath>

#include "kernels/gradient_norm/gradient_norm.h"

namespace zeroth::reference {

namespace {

bool supports(const FlatParams& params) {
  return params.dtype == DType::f64 || params.dtype == DType::f32;
}

std::size_t workspace(Context&, const FlatParams&) {
  return 0;
}

template <class T, class W>
void measure(const FlatParams& params, const FlatParameters& parameters, TensorView sum_of_squares,
             TensorView bad_segment) {
  const T* gradients = parameters.gradients.as<T>();
  const std::uint8_t* group_of_segment = parameters.group_of_segment.as<std::uint8_t>();
  double sum = 0.0;
  std::int32_t bad = kNoSegment;
  for (std::int64_t i = 0; i < params.elements; ++i) {
    const std::int64_t segment = i / kParameterSegment;
    double g = static_cast<double>(gradients[i]);
    if constexpr (!std::is_void_v<W>)
      if (group_of_segment[segment] & kWorkingSegment)
        g = to_compute(parameters.working_gradients.as<W>()[i]);
    sum += g * g;
    if (!std::isfinite(g) && bad == kNoSegment) bad = static_cast<std::int32_t>(segment);
  }
  *sum_of_squares.as<double>() = sum;
  *bad_segment.as<std::int32_t>() = bad;
}

void forward(Context&, const FlatParams& params, const FlatParameters& parameters, TensorView sum_of_squares,
             TensorView bad_segment, Workspace) {
  dispatch_reference(params.dtype, [&]<class T>(TypeTag<T>) {
    dispatch_working(
        params, [&]<class W>(TypeTag<W>) { measure<T, W>(params, parameters, sum_of_squares, bad_segment); });
  });
}

}  // namespace

const GradientNormRow gradient_norm_row{{"reference", DeviceKind::cpu, true}, supports, workspace, forward};

}  // namespace zeroth::reference
