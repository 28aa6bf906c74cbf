#include <algorithm>

#include "kernels/step_guard/decide.h"

namespace zeroth::reference {

namespace {

bool supports(const StepGuardParams& params) {
  return params.dtype == DType::f64 || params.dtype == DType::f32;
}

template <class T>
void restore(TensorView to, ConstTensorView before) {
  if (to) std::copy_n(before.as<T>(), before.elements(), to.as<T>());
}

void forward(Context&, const StepGuardParams& params, const StepGuardOperands& operands) {
  dispatch_reference(params.dtype, [&]<class T>(TypeTag<T>) {
    double loss_scale = static_cast<double>(*operands.loss_scale.as<T>());
    const JudgedGradients judged =
        join_parts(params, operands.sum_of_squares.as<double>(), operands.bad_segment.as<std::int32_t>(),
                   operands.sum_of_squares.elements());
    const double factor = decide_step(params, judged.sum_of_squares, judged.bad_segment, loss_scale,
                                      operands.counters.as<std::int32_t>(), operands.report.as<double>());
    *operands.loss_scale.as<T>() = static_cast<T>(loss_scale);
    if (operands.seed) *operands.seed.as<T>() = static_cast<T>(loss_scale / params.ranks);
    *operands.factor.as<T>() = static_cast<T>(factor);
    if (factor >= 0.0) return;
    restore<T>(operands.state, operands.state_before);
    restore<double>(operands.metrics, operands.metrics_before);
  });
}

}  // namespace

const StepGuardRow step_guard_row{{"reference", DeviceKind::cpu, true}, supports, forward};

}  // namespace zeroth::reference
