#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

#include <fmt/format.h>

#include "kernels/core/profile_range.h"

namespace zeroth {

std::string SoftmaxCrossEntropyParams::to_string() const {
  return fmt::format("{} x {} logits {}, smoothing {}", n, k, name_of(dtype), smoothing);
}

std::span<const SoftmaxCrossEntropyRow> softmax_cross_entropy_rows() {
  static const SoftmaxCrossEntropyRow rows[] = {
      cuda_native::softmax_cross_entropy_row, simt_native::softmax_cross_entropy_row,
      cpu::softmax_cross_entropy_row, reference::softmax_cross_entropy_row};
  return rows;
}

namespace {

void check_params(const SoftmaxCrossEntropyParams& params) {
  if (params.k < 1 || params.k > INT32_MAX)
    fail(ErrorKind::usage,
         fmt::format("softmax_cross_entropy: {} classes, expected 1 to 2147483647", params.k));
  if (!(params.smoothing >= 0.0 && params.smoothing <= 1.0))
    fail(ErrorKind::usage,
         fmt::format("softmax_cross_entropy: smoothing is {}, expected 0 to 1", params.smoothing));
}

void check_others(const char* name, const SoftmaxCrossEntropyParams& params, const OtherLabels& others) {
  if (!others && !others.share) return;
  check_operand(name, "other labels", others.labels, {params.n}, DType::i32);
  check_operand(name, "share", others.share, {1}, statistics_dtype(params.dtype));
}

const SoftmaxCrossEntropyRow& select(const Context& context, const SoftmaxCrossEntropyParams& params) {
  return select_row(
      context, "softmax_cross_entropy", softmax_cross_entropy_rows(),
      [&](const SoftmaxCrossEntropyRow& row) { return row.supports(params); },
      [&] { return params.to_string(); });
}

}  // namespace

void softmax_cross_entropy_forward(Context& context, const SoftmaxCrossEntropyParams& params,
                                   ConstTensorView logits, ConstTensorView labels, TensorView loss,
                                   TensorView row_losses, TensorView predictions, TensorView metrics,
                                   OtherLabels others) {
  constexpr const char* kName = "softmax_cross_entropy";
  check_params(params);
  check_operand(kName, "logits", logits, {params.n, params.k}, params.dtype);
  check_operand(kName, "labels", labels, {params.n}, DType::i32);
  check_operand(kName, "loss", loss, {1}, statistics_dtype(params.dtype));
  check_operand(kName, "row_losses", row_losses, {params.n}, statistics_dtype(params.dtype));
  check_operand(kName, "predictions", predictions, {params.n}, DType::i32);
  if (metrics) check_operand(kName, "metrics", metrics, {3}, DType::f64);
  check_others(kName, params, others);
  const SoftmaxCrossEntropyRow& row = select(context, params);
  const ProfileRange range("softmax_cross_entropy_forward", row.name);
  row.forward(context, params, logits, labels, others, loss, row_losses, predictions, metrics);
}

void softmax_cross_entropy_backward(Context& context, const SoftmaxCrossEntropyParams& params,
                                    ConstTensorView logits, ConstTensorView labels, ConstTensorView dloss,
                                    TensorView dlogits, GradMode mode, OtherLabels others) {
  if (mode == GradMode::skip) return;
  constexpr const char* kName = "softmax_cross_entropy backward";
  check_params(params);
  check_operand(kName, "logits", logits, {params.n, params.k}, params.dtype);
  check_operand(kName, "labels", labels, {params.n}, DType::i32);
  check_operand(kName, "dloss", dloss, {1}, statistics_dtype(params.dtype));
  check_operand(kName, "dlogits", dlogits, {params.n, params.k}, params.dtype);
  check_others(kName, params, others);
  const SoftmaxCrossEntropyRow& row = select(context, params);
  const ProfileRange range("softmax_cross_entropy_backward", row.name);
  row.backward(context, params, logits, labels, others, dloss, dlogits, mode);
}

}  // namespace zeroth
