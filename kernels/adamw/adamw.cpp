#include "kernels/adamw/adamw.h"

#include <fmt/format.h>

namespace zeroth {

std::string AdamwParams::to_string() const {
  return fmt::format("{} x {}, {} group{}, betas {} and {}, eps {}, {}", elements, name_of(dtype), groups,
                     groups == 1 ? "" : "s", beta1, beta2, eps, decoupled ? "AdamW" : "Adam");
}

std::span<const AdamwRow> adamw_rows() {
  static const AdamwRow rows[] = {cuda_native::adamw_row, simt_native::adamw_row, cpu::adamw_row,
                                  reference::adamw_row};
  return rows;
}

void adamw_step(Context& context, const AdamwParams& params, TensorView weights, ConstTensorView gradients,
                TensorView m, TensorView v, ConstTensorView group_of_segment, ConstTensorView rates,
                ConstTensorView step) {
  if (params.elements < 0 || params.elements % kParameterSegment != 0)
    fail(ErrorKind::usage,
         fmt::format("adamw: {} elements are not whole segments of {}", params.elements, kParameterSegment));
  if (params.groups < 1 || params.groups > 256)
    fail(ErrorKind::usage, fmt::format("adamw: {} parameter groups, expected 1 to 256", params.groups));
  const auto is_rate = [](double beta) { return beta >= 0.0 && beta < 1.0; };
  if (!is_rate(params.beta1) || !is_rate(params.beta2))
    fail(ErrorKind::usage,
         fmt::format("adamw: the betas are {} and {}, expected 0 <= beta < 1", params.beta1, params.beta2));
  if (!(params.eps > 0.0)) fail(ErrorKind::usage, fmt::format("adamw: eps is {}, expected > 0", params.eps));
  const Shape flat{params.elements};
  check_operand("adamw", "weights", weights, flat, params.dtype);
  check_operand("adamw", "gradients", gradients, flat, params.dtype);
  check_operand("adamw", "m", m, flat, params.dtype);
  check_operand("adamw", "v", v, flat, params.dtype);
  check_operand("adamw", "group_of_segment", group_of_segment, {params.elements / kParameterSegment},
                DType::u8);
  check_operand("adamw", "rates", rates, {params.groups, 2}, statistics_dtype(params.dtype));
  check_operand("adamw", "step", step, {1}, DType::i32);
  const AdamwRow& row = select_row(
      context, "adamw", adamw_rows(), [&](const AdamwRow& candidate) { return candidate.supports(params); },
      [&] { return params.to_string(); });
  row.step(context, params, weights, gradients, m, v, group_of_segment, rates, step);
}

}  // namespace zeroth
