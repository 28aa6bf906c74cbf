// Whether a step updates the weights, by what its gradients are multiplied, and the loss scale of the next
// one. Bytes moved: next to none; after a skipped step, running statistics and sums of losses twice. One
// block: the first thread decides, and all of them restore.

#include "kernels/core/block.cuh"
#include "kernels/step_guard/decide.h"

namespace zeroth::ZEROTH_NATIVE {

namespace {

constexpr int kThreads = 512;

struct Pointers {
  const double* sum_of_squares;
  const std::int32_t* bad_segment;
  std::int64_t parts;
  float *loss_scale, *factor, *seed;
  std::int32_t* counters;
  double* report;
  float* state;
  const float* state_before;
  std::int64_t state_elements;
  double* metrics;
  const double* metrics_before;
  std::int64_t metrics_elements;
};

template <class T>
__device__ inline void restore(T* to, const T* before, std::int64_t elements) {
  for (std::int64_t i = threadIdx.x; i < elements; i += kThreads) to[i] = before[i];
}

__global__ void __launch_bounds__(kThreads) step_guard_kernel(StepGuardParams params, Pointers p) {
  ZEROTH_SHARED(double, factor, [1]);
  if (threadIdx.x == 0) {
    double loss_scale = *p.loss_scale;
    const JudgedGradients judged = join_parts(params, p.sum_of_squares, p.bad_segment, p.parts);
    factor[0] =
        decide_step(params, judged.sum_of_squares, judged.bad_segment, loss_scale, p.counters, p.report);
    *p.loss_scale = static_cast<float>(loss_scale);
    if (p.seed != nullptr) *p.seed = static_cast<float>(loss_scale / params.ranks);
    *p.factor = static_cast<float>(factor[0]);
  }
  __syncthreads();
  if (factor[0] >= 0.0) return;
  restore(p.state, p.state_before, p.state_elements);
  restore(p.metrics, p.metrics_before, p.metrics_elements);
}

bool supports(const StepGuardParams& params) {
  return params.dtype == DType::f32;
}

void forward(Context& context, const StepGuardParams& params, const StepGuardOperands& operands) {
  const Pointers pointers{operands.sum_of_squares.as<double>(),
                          operands.bad_segment.as<std::int32_t>(),
                          operands.sum_of_squares.elements(),
                          operands.loss_scale.as<float>(),
                          operands.factor.as<float>(),
                          operands.seed.as<float>(),
                          operands.counters.as<std::int32_t>(),
                          operands.report.as<double>(),
                          operands.state.as<float>(),
                          operands.state_before.as<float>(),
                          operands.state ? operands.state.elements() : 0,
                          operands.metrics.as<double>(),
                          operands.metrics_before.as<double>(),
                          operands.metrics ? operands.metrics.elements() : 0};
  launch(step_guard_kernel, dim3(1), dim3(kThreads), 0, context.stream(), params, pointers);
}

}  // namespace

const StepGuardRow step_guard_row{{"native", kNativeDevice, true}, supports, forward};

}  // namespace zeroth::ZEROTH_NATIVE
