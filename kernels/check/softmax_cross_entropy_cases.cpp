#include <cmath>

#include "kernels/check/cases.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

namespace zeroth::check {

namespace {

/// What logits are drawn from: [-kLargest, kLargest].
constexpr double kLargest = 4.0;

SoftmaxCrossEntropyParams with_dtype(SoftmaxCrossEntropyParams params, DType dtype) {
  params.dtype = dtype;
  return params;
}

/// Relative error of the sum of exponentials in f32, in units of roundoff: each difference to the largest
/// logit is rounded (at most 8 here), each exponential good to 2, then k - 1 additions.
double sum_exp_error(const SoftmaxCrossEntropyParams& params) {
  return 2.0 * kLargest + 4.0 + static_cast<double>(params.k);
}

OperandSpec logits_operand(const SoftmaxCrossEntropyParams& params) {
  return {.name = "logits", .shape = {params.n, params.k}, .low = -kLargest, .high = kLargest};
}
OperandSpec labels_operand(const SoftmaxCrossEntropyParams& params) {
  return {.name = "labels",
          .shape = {params.n},
          .kind = ElementKind::i32,
          .low = 0.0,
          .high = static_cast<double>(params.k) - 1e-6};
}
OperandSpec loss_operand(const char* name, const Shape& shape, Role role) {
  return {.name = name,
          .shape = shape,
          .role = role,
          .kind = ElementKind::statistics,
          .accuracy = {.roundings = 1.0, .magnitude = Magnitude::custom}};
}

KernelCase pass_case(const SoftmaxCrossEntropyParams& params, Pass pass) {
  return {
      .operation = "softmax_cross_entropy",
      .name = std::string(name_of(pass)) + " " + params.to_string(),
      .rows =
          [=](DType dtype) { return rows_taking(softmax_cross_entropy_rows(), with_dtype(params, dtype)); },
      .pass = pass};
}

KernelCase forward_case(const SoftmaxCrossEntropyParams& params) {
  KernelCase call = pass_case(params, Pass::forward);
  call.operands = {
      logits_operand(params),
      labels_operand(params),
      loss_operand("loss", {1}, Role::output),
      loss_operand("row_losses", {params.n}, Role::output),
      {.name = "predictions", .shape = {params.n}, .role = Role::output, .kind = ElementKind::i32}};
  call.run = [=](Context& context, DType dtype, std::span<const TensorView> v, Workspace) {
    softmax_cross_entropy_forward(context, with_dtype(params, dtype), v[0], v[1], v[2], v[3], v[4], {});
  };
  // The logarithm turns the sum's relative error into an absolute one; the two other terms, up to 8 in size,
  // take k additions for the mean and a few roundings each. Sums over rows run in f64.
  call.magnitude = [=](const Values&, const Values& after) {
    Values result = after;
    for (const std::size_t operand : {2, 3})
      for (double& value : result[operand])
        value = sum_exp_error(params) + 2.0 * (std::fabs(value) + 4.0 * kLargest) +
                2.0 * kLargest * (static_cast<double>(params.k) + 8.0);
    return result;
  };
  call.flops = 4.0 * static_cast<double>(params.n * params.k);
  return call;
}

KernelCase backward_case(const SoftmaxCrossEntropyParams& params) {
  KernelCase call = pass_case(params, Pass::backward);
  call.operands = {logits_operand(params),
                   labels_operand(params),
                   loss_operand("dloss", {1}, Role::input),
                   {.name = "dlogits",
                    .shape = {params.n, params.k},
                    .role = Role::output,
                    .accuracy = {.roundings = 1.0, .magnitude = Magnitude::custom}}};
  call.run = [=](Context& context, DType dtype, std::span<const TensorView> v, Workspace) {
    softmax_cross_entropy_backward(context, with_dtype(params, dtype), v[0], v[1], v[2], v[3],
                                   GradMode::overwrite);
  };
  // A probability's relative error, and the subtraction of q: both are at most 1. Then two products.
  call.magnitude = [=](const Values& before, const Values& after) {
    Values result = after;
    const double scale = std::fabs(before[2][0]) / static_cast<double>(params.n);
    for (double& value : result[3])
      value = scale * (2.0 * sum_exp_error(params) + 8.0) + 4.0 * std::fabs(value);
    return result;
  };
  call.flops = 5.0 * static_cast<double>(params.n * params.k);
  return call;
}

}  // namespace

std::vector<KernelCase> cases_of(const SoftmaxCrossEntropyParams& params) {
  return {forward_case(params), backward_case(params)};
}

}  // namespace zeroth::check
