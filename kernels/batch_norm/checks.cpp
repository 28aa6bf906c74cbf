#include "kernels/batch_norm/checks.h"

#include <fmt/format.h>

namespace zeroth {

void check_batch_norm(const char* operation, const BatchNormParams& params) {
  if (params.rows < 0 || params.channels < 1)
    fail(ErrorKind::usage, fmt::format("{}: sizes must be positive: {}", operation, params.to_string()));
  if (!(params.eps > 0.0) || !(params.momentum >= 0.0 && params.momentum <= 1.0))
    fail(ErrorKind::usage, fmt::format("{}: eps {} must be positive and momentum {} lie in [0, 1]", operation,
                                       params.eps, params.momentum));
}

void check_enough_rows(const char* operation, const BatchNormParams& params) {
  if (params.rows_of_all_ranks() < 2)
    fail(ErrorKind::usage,
         fmt::format("{}: training needs at least two values a channel, this batch has {}: train with a "
                     "larger batch",
                     operation, params.rows_of_all_ranks()));
}

void check_rows(const char* operation, const char* operand, ConstTensorView view,
                const BatchNormParams& params) {
  if (!view && params.rows > 0) fail(ErrorKind::usage, fmt::format("{}: {} is missing", operation, operand));
  const int rank = view.shape.rank();
  if (rank < 1 || view.shape[rank - 1] != params.channels)
    fail(ErrorKind::usage, fmt::format("{}: {} has shape {}, expected {} channels last", operation, operand,
                                       view.shape.to_string(), params.channels));
  ConstTensorView flat = view;
  if (view.elements() == params.rows * params.channels) flat.shape = {params.rows, params.channels};
  check_operand(operation, operand, flat, {params.rows, params.channels}, params.dtype);
}

void check_channels(const char* operation, const char* operand, ConstTensorView view,
                    const BatchNormParams& params) {
  check_operand(operation, operand, view, {params.channels}, statistics_dtype(params.dtype));
}

}  // namespace zeroth
