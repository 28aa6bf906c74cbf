#include "kernels/adamw/adamw.h"

#include <fmt/format.h>

#include "kernels/core/profile_range.h"

namespace zeroth {

std::string AdamwParams::to_string() const {
  return fmt::format("{}, betas {} and {}, eps {}, {}", FlatParams::to_string(), beta1, beta2, eps,
                     decoupled ? "AdamW" : "Adam");
}

std::span<const AdamwRow> adamw_rows() {
  static const AdamwRow rows[] = {cuda_native::adamw_row, simt_native::adamw_row, cpu::adamw_row,
                                  reference::adamw_row};
  return rows;
}

void adamw_step(Context& context, const AdamwParams& params, const FlatParameters& parameters, TensorView m,
                TensorView v, ConstTensorView step) {
  check_flat_parameters("adamw", params, parameters);
  const auto is_rate = [](double beta) { return beta >= 0.0 && beta < 1.0; };
  if (!is_rate(params.beta1) || !is_rate(params.beta2))
    fail(ErrorKind::usage,
         fmt::format("adamw: the betas are {} and {}, expected 0 <= beta < 1", params.beta1, params.beta2));
  if (!(params.eps > 0.0)) fail(ErrorKind::usage, fmt::format("adamw: eps is {}, expected > 0", params.eps));
  check_operand("adamw", "m", m, {params.elements}, params.dtype);
  check_operand("adamw", "v", v, {params.elements}, params.dtype);
  check_operand("adamw", "step", step, {1}, DType::i32);
  const AdamwRow& row = select_row(
      context, "adamw", adamw_rows(), [&](const AdamwRow& candidate) { return candidate.supports(params); },
      [&] { return params.to_string(); });
  const ProfileRange range("adamw_step", row.name);
  row.step(context, params, parameters, m, v, step);
}

}  // namespace zeroth
