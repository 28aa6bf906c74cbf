#include <cmath>
#include <experimental/simd>

#include "kernels/adamw/adamw.h"
#include "kernels/core/for_each_segment.h"

namespace zeroth::cpu {

namespace {

namespace simd = std::experimental;
// std::sqrt may set errno, which keeps compilers from vectorising a plain loop; the vector type has no errno.
// Memory is the limit, so eight lanes are as good as sixteen.
using Floats = simd::simd<float, simd::simd_abi::deduce_t<float, 8>>;
static_assert(kParameterSegment % static_cast<std::int64_t>(Floats::size()) == 0);

/// What all elements of a step share.
struct Coefficients {
  float beta1, rest1, beta2, rest2, eps;
  float inverse_correction1;       // 1 / (1 - beta1^t)
  float inverse_root_correction2;  // 1 / sqrt(1 - beta2^t)
};

Coefficients coefficients(const AdamwParams& params, std::int32_t step) {
  return {static_cast<float>(params.beta1),
          static_cast<float>(1.0 - params.beta1),
          static_cast<float>(params.beta2),
          static_cast<float>(1.0 - params.beta2),
          static_cast<float>(params.eps),
          static_cast<float>(1.0 / (1.0 - std::pow(params.beta1, step))),
          static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(params.beta2, step)))};
}

template <bool kDecoupled>
void update_segment(float* w, const float* gradient, float* m, float* v, float learning_rate, float decay,
                    const Coefficients& c) {
  const float step_size = learning_rate * c.inverse_correction1;
  for (std::int64_t i = 0; i < kParameterSegment; i += static_cast<std::int64_t>(Floats::size())) {
    Floats weight(w + i, simd::element_aligned), g(gradient + i, simd::element_aligned);
    if constexpr (kDecoupled)
      weight -= learning_rate * decay * weight;
    else
      g += decay * weight;
    const Floats first = c.beta1 * Floats(m + i, simd::element_aligned) + c.rest1 * g;
    const Floats second = c.beta2 * Floats(v + i, simd::element_aligned) + c.rest2 * g * g;
    weight -= step_size * first / (simd::sqrt(second) * c.inverse_root_correction2 + c.eps);
    first.copy_to(m + i, simd::element_aligned);
    second.copy_to(v + i, simd::element_aligned);
    weight.copy_to(w + i, simd::element_aligned);
  }
}

bool supports(const AdamwParams& params) {
  return params.dtype == DType::f32;
}

template <bool kDecoupled>
void update(const AdamwParams& params, const FlatParameters& parameters, TensorView m_view, TensorView v_view,
            std::int32_t step) {
  float *w = parameters.weights.as<float>(), *m = m_view.as<float>(), *v = v_view.as<float>();
  const Coefficients shared = coefficients(params, step);
  for_each_segment(
      params, parameters, [=](std::int64_t first, const float* gradient, float learning_rate, float decay) {
        update_segment<kDecoupled>(w + first, gradient, m + first, v + first, learning_rate, decay, shared);
      });
}

void step(Context&, const AdamwParams& params, const FlatParameters& parameters, TensorView m, TensorView v,
          ConstTensorView step_view) {
  const auto run = params.decoupled ? update<true> : update<false>;
  run(params, parameters, m, v, *step_view.as<std::int32_t>());
}

}  // namespace

const AdamwRow adamw_row{{"cpu", DeviceKind::cpu, true}, supports, step};

}  // namespace zeroth::cpu
