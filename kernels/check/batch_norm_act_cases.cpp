#include <algorithm>
#include <cmath>

#include "kernels/check/cases.h"

namespace zeroth::check {

namespace {

constexpr Epilogue kEpilogues[] = {Epilogue::relu, Epilogue::plain, Epilogue::post, Epilogue::authors};

BatchNormActParams with_dtype(BatchNormActParams params, DType dtype) {
  params.dtype = dtype;
  return params;
}

bool masked_by_y(Epilogue epilogue) {
  return epilogue == Epilogue::plain || epilogue == Epilogue::post;
}

KernelCase call_case(const BatchNormActParams& params, const std::string& call) {
  return {
      .operation = "batch_norm_act",
      .name = call + " " + params.to_string(),
      .rows = [=](DType dtype) { return rows_taking(batch_norm_act_rows(), with_dtype(params, dtype)); },
      .workspace = [=](Context& context,
                       DType dtype) { return batch_norm_act_workspace(context, with_dtype(params, dtype)); }};
}

/// As in batch_norm_cases.cpp: the roundings of batch norm itself, and a few for what follows.
Accuracy accuracy_for(const BatchNormActParams& params) {
  const auto rows = static_cast<double>(params.rows), channels = static_cast<double>(params.channels);
  const double run = std::max(16.0, std::ceil(4096.0 / channels / 4.0));
  return {.roundings = std::min(rows, run) + 20.0,
          .magnitude = Magnitude::custom,
          .reference_roundings = rows + 20.0};
}

OperandSpec rows_operand(const char* name, const BatchNormActParams& params, Role role = Role::input) {
  return {.name = name, .shape = {params.rows, params.channels}, .role = role};
}
OperandSpec channel_operand(const char* name, const BatchNormActParams& params, Role role = Role::input) {
  return {.name = name, .shape = {params.channels}, .role = role, .kind = ElementKind::statistics};
}
/// Operands that only some epilogues read; others leave them out.
OperandSpec shortcut_operand(const BatchNormActParams& params) {
  return rows_operand("shortcut", params, has_shortcut(params.epilogue) ? Role::input : Role::untouched);
}
OperandSpec y_operand(const BatchNormActParams& params) {
  return rows_operand("y", params, masked_by_y(params.epilogue) ? Role::input : Role::untouched);
}
OperandSpec scalar_operand(const char* name, Role role = Role::input) {
  return {.name = name, .shape = {1}, .role = role, .kind = ElementKind::statistics};
}

/// Per channel: the mean over rows of value(element, channel).
template <class Value>
std::vector<double> channel_means(const BatchNormActParams& params, Value&& value) {
  std::vector<double> means(static_cast<std::size_t>(params.channels));
  for (std::size_t i = 0; i < static_cast<std::size_t>(params.rows * params.channels); ++i)
    means[i % means.size()] += value(i, i % means.size()) / static_cast<double>(params.rows);
  return means;
}

/// What y adds up, without signs.
std::vector<double> output_magnitude(const BatchNormActParams& params, const std::vector<double>& x,
                                     const std::vector<double>& mean, const std::vector<double>& inverse_std,
                                     const std::vector<double>& gamma, const std::vector<double>& beta,
                                     const std::vector<double>& shortcut, double alpha) {
  std::vector<double> result(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t c = i % static_cast<std::size_t>(params.channels);
    const double z =
        (std::fabs(x[i]) + std::fabs(mean[c])) * inverse_std[c] * std::fabs(gamma[c]) + std::fabs(beta[c]);
    result[i] = (has_alpha(params.epilogue) ? std::fabs(alpha) : 1.0) * z +
                (has_shortcut(params.epilogue) ? std::fabs(shortcut[i]) : 0.0);
  }
  return result;
}

/// An absent operand where the epilogue has none.
TensorView shortcut_of(const BatchNormActParams& params, TensorView view) {
  return has_shortcut(params.epilogue) ? view : TensorView();
}
TensorView alpha_of(const BatchNormActParams& params, TensorView view) {
  return has_alpha(params.epilogue) ? view : TensorView();
}

KernelCase training_case(const BatchNormActParams& params, bool in_place) {
  KernelCase call = call_case(params, in_place ? "training, over the shortcut," : "training");
  const Accuracy accuracy = accuracy_for(params);
  call.operands = {rows_operand("x", params),
                   channel_operand("gamma", params),
                   channel_operand("beta", params),
                   shortcut_operand(params),
                   scalar_operand("alpha"),
                   channel_operand("running_mean", params, Role::inout),
                   channel_operand("running_var", params, Role::inout),
                   rows_operand("y", params, Role::output),
                   channel_operand("mean", params, Role::output),
                   channel_operand("inverse_std", params, Role::output)};
  call.operands[6].low = 0.0;
  call.operands[7].aliases = in_place ? 3 : -1;
  for (OperandSpec& spec : call.operands) spec.accuracy = accuracy;
  call.run = [=](Context& context, DType dtype, std::span<const TensorView> v, Workspace workspace) {
    batch_norm_act_forward_training(
        context, with_dtype(params, dtype),
        {v[0], v[1], v[2], shortcut_of(params, v[3]), alpha_of(params, v[4]), v[5], v[6], v[7], v[8], v[9]},
        workspace);
  };
  call.magnitude = [=](const Values& before, const Values& after) {
    const std::vector<double>& inverse_std = after[9];
    const std::vector<double> size =
        channel_means(params, [&](std::size_t i, std::size_t) { return std::fabs(before[0][i]); });
    Values result = after;
    result[7] =
        output_magnitude(params, before[0], size, inverse_std, before[1], before[2], before[3], before[4][0]);
    for (std::size_t c = 0; c < size.size(); ++c) {
      // A rounding of x moves a deviation by |x|, and the variance by that times the deviation, twice.
      const double spread = 1.0 + 2.0 * size[c] * inverse_std[c];
      result[5][c] = std::fabs(before[5][c]) + size[c];
      result[6][c] = std::fabs(before[6][c]) + after[6][c] * spread;
      result[8][c] = size[c];
      result[9][c] = inverse_std[c] * spread;
    }
    return result;
  };
  call.flops = 10.0 * static_cast<double>(params.rows * params.channels);
  return call;
}

KernelCase inference_case(const BatchNormActParams& params, int aliases) {
  KernelCase call = call_case(params, aliases < 0 ? "inference" : "inference, in place,");
  call.operands = {rows_operand("x", params),
                   channel_operand("gamma", params),
                   channel_operand("beta", params),
                   shortcut_operand(params),
                   scalar_operand("alpha"),
                   channel_operand("running_mean", params),
                   channel_operand("running_var", params),
                   rows_operand("y", params, Role::output)};
  call.operands[6].low = 0.0;
  call.operands[7].accuracy = {.roundings = 12.0, .magnitude = Magnitude::custom};
  call.operands[7].aliases = aliases;
  call.run = [=](Context& context, DType dtype, std::span<const TensorView> v, Workspace workspace) {
    batch_norm_act_forward_inference(
        context, with_dtype(params, dtype),
        {v[0], v[1], v[2], shortcut_of(params, v[3]), alpha_of(params, v[4]), v[5], v[6], v[7]}, workspace);
  };
  call.magnitude = [=](const Values& before, const Values& after) {
    std::vector<double> inverse_std = before[6];
    for (double& value : inverse_std) value = 1.0 / std::sqrt(value + params.eps);
    Values result = after;
    result[7] = output_magnitude(params, before[0], before[5], inverse_std, before[1], before[2], before[3],
                                 before[4][0]);
    return result;
  };
  call.pass = Pass::inference;
  call.flops = 5.0 * static_cast<double>(params.rows * params.channels);
  return call;
}

struct Modes {
  GradMode dx, dshortcut, parameters, dalpha;
};

enum Operand : std::size_t {
  kDy,
  kX,
  kY,
  kGamma,
  kBeta,
  kMean,
  kInverseStd,
  kAlpha,
  kDx,
  kDshortcut,
  kDgamma,
  kDbeta,
  kDalpha
};

double normalised(const BatchNormActParams& params, const Values& v, std::size_t i) {
  const std::size_t c = i % static_cast<std::size_t>(params.channels);
  return (v[kX][i] - v[kMean][c]) * v[kInverseStd][c] * v[kGamma][c] + v[kBeta][c];
}

/// Moments that fit x; then x is moved where rounding could decide on which side of its ReLU it lies.
void settle(const BatchNormActParams& params, Values& v) {
  v[kMean] = channel_means(params, [&](std::size_t i, std::size_t) { return v[kX][i]; });
  v[kInverseStd] = channel_means(params, [&](std::size_t i, std::size_t c) {
    return (v[kX][i] - v[kMean][c]) * (v[kX][i] - v[kMean][c]);
  });
  for (double& value : v[kInverseStd]) value = 1.0 / std::sqrt(value + params.eps);
  if (masked_by_y(params.epilogue)) return;
  constexpr double kMargin = 0.0625;
  for (std::size_t i = 0; i < v[kX].size(); ++i) {
    const std::size_t c = i % static_cast<std::size_t>(params.channels);
    const double z = normalised(params, v, i);
    if (std::fabs(z) >= kMargin) continue;
    v[kX][i] += ((z < 0.0 ? -2.0 : 2.0) * kMargin - z) / (v[kInverseStd][c] * v[kGamma][c]);
  }
}

Values backward_magnitude(const BatchNormActParams& params, const Values& before, const Values& after) {
  const double factor = has_alpha(params.epilogue) ? std::fabs(before[kAlpha][0]) : 1.0;
  const auto g = [&](std::size_t i) {
    const bool open =
        masked_by_y(params.epilogue) ? before[kY][i] > 0.0 : normalised(params, before, i) > 0.0;
    return open ? std::fabs(before[kDy][i]) : 0.0;
  };
  // A rounding of x or of the mean counts as much as these two are large, however close they are.
  const auto x_hat = [&](std::size_t i, std::size_t c) {
    return (std::fabs(before[kX][i]) + std::fabs(before[kMean][c])) * before[kInverseStd][c];
  };
  const std::vector<double> sum = channel_means(params, [&](std::size_t i, std::size_t) { return g(i); });
  const std::vector<double> sum_x_hat =
      channel_means(params, [&](std::size_t i, std::size_t c) { return g(i) * x_hat(i, c); });
  const auto old = [&](std::size_t operand, std::size_t i) {
    return before[operand].empty() ? 0.0 : std::fabs(before[operand][i]);
  };
  Values result = after;
  for (std::size_t i = 0; i < before[kDy].size(); ++i) {
    const std::size_t c = i % static_cast<std::size_t>(params.channels);
    result[kDx][i] = factor * std::fabs(before[kGamma][c]) * before[kInverseStd][c] *
                         (g(i) + sum[c] + x_hat(i, c) * sum_x_hat[c]) +
                     old(kDx, i);
    result[kDshortcut][i] = std::fabs(before[kDy][i]) + old(kDshortcut, i);
  }
  double alpha = old(kDalpha, 0);
  for (std::size_t c = 0; c < sum.size(); ++c) {
    const auto rows = static_cast<double>(params.rows);
    result[kDgamma][c] = factor * rows * sum_x_hat[c] + old(kDgamma, c);
    result[kDbeta][c] = factor * rows * sum[c] + old(kDbeta, c);
    alpha += rows * (std::fabs(before[kGamma][c]) * sum_x_hat[c] + std::fabs(before[kBeta][c]) * sum[c]);
  }
  result[kDalpha] = {alpha};
  return result;
}

/// `heir`: the gradient that takes the place of dy, if any.
KernelCase backward_case(const BatchNormActParams& params, const Modes& modes, int heir) {
  KernelCase call =
      call_case(params, std::string("backward, dx ") + name_of(modes.dx) + ", dshortcut " +
                            name_of(modes.dshortcut) + ", parameters " + name_of(modes.parameters) +
                            ", dalpha " + name_of(modes.dalpha) + (heir < 0 ? "," : ", in place,"));
  const bool joins = has_shortcut(params.epilogue), scaled = has_alpha(params.epilogue);
  const GradMode dshortcut = joins ? modes.dshortcut : GradMode::skip,
                 dalpha = scaled ? modes.dalpha : GradMode::skip;
  call.operands = {rows_operand("dy", params),
                   rows_operand("x", params),
                   y_operand(params),
                   channel_operand("gamma", params),
                   channel_operand("beta", params),
                   channel_operand("mean", params),
                   channel_operand("inverse_std", params),
                   scalar_operand("alpha"),
                   rows_operand("dx", params, role_of(modes.dx)),
                   rows_operand("dshortcut", params, role_of(dshortcut)),
                   channel_operand("dgamma", params, role_of(modes.parameters)),
                   channel_operand("dbeta", params, role_of(modes.parameters)),
                   scalar_operand("dalpha", role_of(dalpha))};
  call.operands[kY].special = {0.0, 1.0, -0.0, 1e-30};
  call.operands[kGamma].low = 0.5;
  call.operands[kGamma].high = 1.5;
  for (const std::size_t i : {kDx, kDgamma, kDbeta, kDalpha})
    call.operands[i].accuracy = accuracy_for(params);
  call.operands[kDshortcut].accuracy = {.roundings = dshortcut == GradMode::accumulate ? 1.0 : 0.0,
                                        .magnitude = Magnitude::custom};
  if (heir >= 0) call.operands[static_cast<std::size_t>(heir)].aliases = kDy;
  call.prepare = [=](Values& values) { settle(params, values); };
  call.run = [=](Context& context, DType dtype, std::span<const TensorView> v, Workspace workspace) {
    BatchNormActGradients o{.dy = v[kDy],
                            .x = v[kX],
                            .gamma = v[kGamma],
                            .beta = v[kBeta],
                            .mean = v[kMean],
                            .inverse_std = v[kInverseStd],
                            .dx = v[kDx],
                            .dx_mode = modes.dx,
                            .dgamma = v[kDgamma],
                            .dbeta = v[kDbeta],
                            .parameter_mode = modes.parameters};
    if (masked_by_y(params.epilogue)) o.y = v[kY];
    if (scaled) o.alpha = v[kAlpha], o.dalpha = v[kDalpha], o.dalpha_mode = dalpha;
    if (joins) o.dshortcut = v[kDshortcut], o.dshortcut_mode = dshortcut;
    batch_norm_act_backward(context, with_dtype(params, dtype), o, workspace);
  };
  call.magnitude = [=](const Values& before, const Values& after) {
    return backward_magnitude(params, before, after);
  };
  call.pass = Pass::backward;
  call.accumulates = modes.dx == GradMode::accumulate;
  call.flops = 14.0 * static_cast<double>(params.rows * params.channels);
  return call;
}

/// The gradient that may lie where dy does.
int heir_of(Epilogue epilogue) {
  return static_cast<int>(has_shortcut(epilogue) ? kDshortcut : kDx);
}

}  // namespace

std::vector<KernelCase> cases_of(const BatchNormActParams& params) {
  constexpr GradMode overwrite = GradMode::overwrite;
  return {training_case(params, false), inference_case(params, -1),
          backward_case(params, {overwrite, overwrite, overwrite, overwrite}, heir_of(params.epilogue))};
}

std::vector<KernelCase> batch_norm_act_cases() {
  constexpr GradMode skip = GradMode::skip, overwrite = GradMode::overwrite,
                     accumulate = GradMode::accumulate;
  // As batch_norm's: one channel, odd ones, packs, more packs than a block has threads, several pieces.
  constexpr std::int64_t kSizes[][2] = {{2, 1},    {5, 3},    {37, 17},   {64, 16},
                                        {1023, 8}, {3, 2052}, {2100, 16}, {130, 40}};
  std::vector<KernelCase> cases;
  for (const Epilogue epilogue : kEpilogues) {
    for (const auto& [rows, channels] : kSizes) {
      const BatchNormActParams params{{.rows = rows, .channels = channels}, epilogue};
      cases.push_back(training_case(params, false));
      cases.push_back(inference_case(params, -1));
      cases.push_back(backward_case(params, {overwrite, overwrite, overwrite, overwrite}, heir_of(epilogue)));
    }
    for (const std::int64_t channels : {17, 16}) {
      const BatchNormActParams params{{.rows = 43, .channels = channels}, epilogue};
      if (has_shortcut(epilogue)) {
        cases.push_back(training_case(params, true));
        cases.push_back(inference_case(params, 3));
      }
      cases.push_back(inference_case(params, 0));
      for (const Modes& modes :
           {Modes{overwrite, overwrite, overwrite, overwrite},
            Modes{accumulate, accumulate, accumulate, accumulate}, Modes{overwrite, skip, overwrite, skip},
            Modes{skip, overwrite, accumulate, overwrite}, Modes{accumulate, overwrite, skip, accumulate},
            Modes{skip, skip, skip, overwrite}, Modes{skip, accumulate, overwrite, skip}})
        cases.push_back(backward_case(params, modes, -1));
    }
    cases.push_back(inference_case({{.rows = 1, .channels = 5}, epilogue}, -1));
    cases.push_back(inference_case({{.rows = 0, .channels = 8}, epilogue}, -1));
  }
  return cases;
}

}  // namespace zeroth::check
