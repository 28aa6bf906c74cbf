#include "kernels/sgd/sgd.h"

#include <fmt/format.h>

namespace zeroth {

std::string SgdParams::to_string() const {
  return fmt::format("{} x {}, {} group{}, momentum {}{}", elements, name_of(dtype), groups,
                     groups == 1 ? "" : "s", momentum, nesterov ? " nesterov" : "");
}

std::span<const SgdRow> sgd_rows() {
  static const SgdRow rows[] = {cuda_native::sgd_row, simt_native::sgd_row, cpu::sgd_row, reference::sgd_row};
  return rows;
}

void sgd_step(Context& context, const SgdParams& params, TensorView weights, ConstTensorView gradients,
              TensorView momentum_buffer, ConstTensorView group_of_segment, ConstTensorView rates) {
  if (params.elements < 0 || params.elements % kParameterSegment != 0)
    fail(ErrorKind::usage,
         fmt::format("sgd: {} elements are not whole segments of {}", params.elements, kParameterSegment));
  if (params.groups < 1 || params.groups > 256)
    fail(ErrorKind::usage, fmt::format("sgd: {} parameter groups, expected 1 to 256", params.groups));
  if (!(params.momentum >= 0.0 && params.momentum < 1.0))
    fail(ErrorKind::usage, fmt::format("sgd: momentum is {}, expected 0 <= momentum < 1", params.momentum));
  if (params.nesterov && params.momentum == 0.0)
    fail(ErrorKind::usage, "sgd: nesterov needs a momentum above 0");
  const Shape flat{params.elements};
  check_operand("sgd", "weights", weights, flat, params.dtype);
  check_operand("sgd", "gradients", gradients, flat, params.dtype);
  if (params.momentum != 0.0) check_operand("sgd", "momentum_buffer", momentum_buffer, flat, params.dtype);
  check_operand("sgd", "group_of_segment", group_of_segment, {params.elements / kParameterSegment},
                DType::u8);
  check_operand("sgd", "rates", rates, {params.groups, 2}, statistics_dtype(params.dtype));
  const SgdRow& row = select_row(
      context, "sgd", sgd_rows(), [&](const SgdRow& candidate) { return candidate.supports(params); },
      [&] { return params.to_string(); });
  row.step(context, params, weights, gradients, momentum_buffer, group_of_segment, rates);
}

}  // namespace zeroth
