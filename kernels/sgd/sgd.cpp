#include "kernels/sgd/sgd.h"

#include <fmt/format.h>

#include "kernels/core/profile_range.h"

namespace zeroth {

std::string SgdParams::to_string() const {
  return fmt::format("{}, momentum {}{}", FlatParams::to_string(), momentum, nesterov ? " nesterov" : "");
}

std::span<const SgdRow> sgd_rows() {
  static const SgdRow rows[] = {cuda_native::sgd_row, simt_native::sgd_row, cpu::sgd_row, reference::sgd_row};
  return rows;
}

void sgd_step(Context& context, const SgdParams& params, const FlatParameters& parameters,
              TensorView momentum_buffer) {
  check_flat_parameters("sgd", params, parameters);
  if (!(params.momentum >= 0.0 && params.momentum < 1.0))
    fail(ErrorKind::usage, fmt::format("sgd: momentum is {}, expected 0 <= momentum < 1", params.momentum));
  if (params.nesterov && params.momentum == 0.0)
    fail(ErrorKind::usage, "sgd: nesterov needs a momentum above 0");
  if (params.momentum != 0.0)
    check_operand("sgd", "momentum_buffer", momentum_buffer, {params.elements}, params.dtype);
  const SgdRow& row = select_row(
      context, "sgd", sgd_rows(), [&](const SgdRow& candidate) { return candidate.supports(params); },
      [&] { return params.to_string(); });
  const ProfileRange range("sgd_step", row.name);
  row.step(context, params, parameters, momentum_buffer);
}

}  // namespace zeroth
