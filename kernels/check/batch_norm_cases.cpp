#include <algorithm>
#include <cmath>

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/check/cases.h"

namespace zeroth::check {

namespace {

struct Problem {
  std::int64_t rows, channels;
  double center = 0.0;  // of the values of x, whose width is 2
};

// One channel, odd ones, packs of 4 and 8, more packs than a block has threads; rows around what a thread, a
// block, and a piece of the CPU take; a mean far from zero, which a variance from mean(x^2) - mean(x)^2 does
// not survive in f32.
constexpr Problem kProblems[] = {{2, 1},     {5, 3},    {7, 5},         {37, 17},     {64, 16},
                                 {1023, 8},  {513, 24}, {3, 2052},      {70001, 1},   {9000, 16},
                                 {4099, 64}, {257, 40}, {2100, 3, 1e3}, {600, 8, 100}};

BatchNormParams params_of(const Problem& problem, DType dtype) {
  return {.rows = problem.rows, .channels = problem.channels, .dtype = dtype};
}

std::string call_name(const char* call, const Problem& problem) {
  return std::string(call) + " " + std::to_string(problem.rows) + "x" + std::to_string(problem.channels) +
         (problem.center == 0.0 ? "" : " around " + std::to_string(static_cast<int>(problem.center)));
}

std::function<std::vector<Row>(DType)> rows_for(const Problem& problem) {
  return [=](DType dtype) { return rows_taking(batch_norm_rows(), params_of(problem, dtype)); };
}

std::function<std::size_t(Context&, DType)> workspace_for(const Problem& problem) {
  return
      [=](Context& context, DType dtype) { return batch_norm_workspace(context, params_of(problem, dtype)); };
}

/// Additions that follow one another in f32: a piece of the CPU holds 4096 elements and keeps four sums a
/// channel; the hand-written kernels take eight rows at a time. Joining is done in trees and in f64; sixteen
/// roundings are more than those of the rest of the formulas. The reference adds row by row.
Accuracy accuracy_for(const Problem& problem) {
  const auto rows = static_cast<double>(problem.rows), channels = static_cast<double>(problem.channels);
  const double run = std::max(16.0, std::ceil(4096.0 / channels / 4.0));
  return {.roundings = std::min(rows, run) + 16.0,
          .magnitude = Magnitude::custom,
          .reference_roundings = rows + 16.0};
}

OperandSpec rows_operand(const char* name, const Problem& problem, Role role = Role::input) {
  return {.name = name, .shape = {problem.rows, problem.channels}, .role = role};
}

OperandSpec channel_operand(const char* name, const Problem& problem, Role role = Role::input) {
  return {.name = name, .shape = {problem.channels}, .role = role, .kind = ElementKind::statistics};
}

OperandSpec x_operand(const Problem& problem) {
  OperandSpec x = rows_operand("x", problem);
  x.low = problem.center - 1.0;
  x.high = problem.center + 1.0;
  return x;
}

/// Per channel: means over rows of |x|, of value(row, channel).
template <class Value>
std::vector<double> channel_means(const Problem& problem, Value&& value) {
  std::vector<double> means(static_cast<std::size_t>(problem.channels));
  for (std::int64_t row = 0; row < problem.rows; ++row)
    for (std::int64_t c = 0; c < problem.channels; ++c)
      means[static_cast<std::size_t>(c)] +=
          value(static_cast<std::size_t>(row * problem.channels + c), static_cast<std::size_t>(c)) /
          static_cast<double>(problem.rows);
  return means;
}

/// What y = (x - mean) * scale + beta adds up, without signs.
std::vector<double> output_magnitude(const Problem& problem, const std::vector<double>& x,
                                     const std::vector<double>& mean, const std::vector<double>& inverse_std,
                                     const std::vector<double>& gamma, const std::vector<double>& beta) {
  std::vector<double> result(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t c = i % static_cast<std::size_t>(problem.channels);
    result[i] = (std::fabs(x[i]) + mean[c]) * inverse_std[c] * std::fabs(gamma[c]) + std::fabs(beta[c]);
  }
  return result;
}

KernelCase training_case(const Problem& problem) {
  KernelCase call{.operation = "batch_norm", .name = call_name("training", problem)};
  const Accuracy accuracy = accuracy_for(problem);
  call.operands = {x_operand(problem),
                   channel_operand("gamma", problem),
                   channel_operand("beta", problem),
                   channel_operand("running_mean", problem, Role::inout),
                   channel_operand("running_var", problem, Role::inout),
                   rows_operand("y", problem, Role::output),
                   channel_operand("mean", problem, Role::output),
                   channel_operand("inverse_std", problem, Role::output)};
  call.operands[4].low = 0.0;
  for (OperandSpec& spec : call.operands) spec.accuracy = accuracy;
  call.run = [=](Context& context, DType dtype, std::span<const TensorView> v, Workspace workspace) {
    batch_norm_forward_training(context, params_of(problem, dtype), v[0], v[1], v[2], v[3], v[4], v[5], v[6],
                                v[7], workspace);
  };
  call.rows = rows_for(problem);
  call.workspace = workspace_for(problem);
  call.magnitude = [=](const Values& before, const Values& after) {
    const std::vector<double>& inverse_std = after[7];
    const std::vector<double> size =
        channel_means(problem, [&](std::size_t i, std::size_t) { return std::fabs(before[0][i]); });
    Values result = after;
    result[5] = output_magnitude(problem, before[0], size, inverse_std, before[1], before[2]);
    for (std::size_t c = 0; c < size.size(); ++c) {
      // A rounding of x moves a deviation by |x|, and the variance by that times the deviation, twice.
      const double spread = 1.0 + 2.0 * size[c] * inverse_std[c];
      result[3][c] = std::fabs(before[3][c]) + size[c];
      result[4][c] = std::fabs(before[4][c]) + after[4][c] * spread;
      result[6][c] = size[c];
      result[7][c] = inverse_std[c] * spread;
    }
    return result;
  };
  call.flops = 8.0 * static_cast<double>(problem.rows * problem.channels);
  return call;
}

KernelCase inference_case(const Problem& problem, bool in_place) {
  KernelCase call{.operation = "batch_norm",
                  .name = call_name(in_place ? "inference in place" : "inference", problem)};
  call.operands = {x_operand(problem),
                   channel_operand("gamma", problem),
                   channel_operand("beta", problem),
                   channel_operand("running_mean", problem),
                   channel_operand("running_var", problem),
                   rows_operand("y", problem, Role::output)};
  call.operands[3].low = problem.center - 1.0;
  call.operands[3].high = problem.center + 1.0;
  call.operands[4].low = 0.0;
  call.operands[5].accuracy = {.roundings = 8.0, .magnitude = Magnitude::custom};
  call.operands[5].aliases = in_place ? 0 : -1;
  call.run = [=](Context& context, DType dtype, std::span<const TensorView> v, Workspace workspace) {
    batch_norm_forward_inference(context, params_of(problem, dtype), v[0], v[1], v[2], v[3], v[4], v[5],
                                 workspace);
  };
  call.rows = rows_for(problem);
  call.workspace = workspace_for(problem);
  call.magnitude = [=](const Values& before, const Values& after) {
    std::vector<double> mean = before[3], inverse_std = before[4];
    for (double& value : mean) value = std::fabs(value);
    for (double& value : inverse_std) value = 1.0 / std::sqrt(value + params_of(problem, DType::f64).eps);
    Values result = after;
    result[5] = output_magnitude(problem, before[0], mean, inverse_std, before[1], before[2]);
    return result;
  };
  call.pass = Pass::inference;
  call.flops = 3.0 * static_cast<double>(problem.rows * problem.channels);
  return call;
}

/// Replaces random moments by those of x, as forward would have saved them.
void save_moments(const Problem& problem, const std::vector<double>& x, std::vector<double>& mean,
                  std::vector<double>& inverse_std) {
  mean = channel_means(problem, [&](std::size_t i, std::size_t) { return x[i]; });
  inverse_std = channel_means(
      problem, [&](std::size_t i, std::size_t c) { return (x[i] - mean[c]) * (x[i] - mean[c]); });
  for (double& value : inverse_std) value = 1.0 / std::sqrt(value + params_of(problem, DType::f64).eps);
}

Values backward_magnitude(const Problem& problem, const Values& before, const Values& after) {
  const std::vector<double>&dy = before[0], &x = before[1], &gamma = before[2], &mean = before[3],
        &inverse_std = before[4];
  // A rounding of x or of the mean counts as much as these two are large, however close they are.
  const auto x_hat = [&](std::size_t i, std::size_t c) {
    return (std::fabs(x[i]) + std::fabs(mean[c])) * inverse_std[c];
  };
  const std::vector<double> sum =
      channel_means(problem, [&](std::size_t i, std::size_t) { return std::fabs(dy[i]); });
  const std::vector<double> sum_x_hat =
      channel_means(problem, [&](std::size_t i, std::size_t c) { return std::fabs(dy[i]) * x_hat(i, c); });
  Values result = after;
  for (std::size_t i = 0; i < dy.size(); ++i) {
    const std::size_t c = i % static_cast<std::size_t>(problem.channels);
    result[5][i] =
        std::fabs(gamma[c]) * inverse_std[c] * (std::fabs(dy[i]) + sum[c] + x_hat(i, c) * sum_x_hat[c]) +
        (before[5].empty() ? 0.0 : std::fabs(before[5][i]));
  }
  for (std::size_t c = 0; c < sum.size(); ++c) {
    const auto rows = static_cast<double>(problem.rows);
    result[6][c] = rows * sum_x_hat[c] + (before[6].empty() ? 0.0 : std::fabs(before[6][c]));
    result[7][c] = rows * sum[c] + (before[7].empty() ? 0.0 : std::fabs(before[7][c]));
  }
  return result;
}

KernelCase backward_case(const Problem& problem, GradMode dx_mode, GradMode parameter_mode, bool in_place) {
  KernelCase call{.operation = "batch_norm",
                  .name = call_name("backward", problem) + ", dx " + name_of(dx_mode) + ", parameters " +
                          name_of(parameter_mode) + (in_place ? ", in place" : "")};
  call.operands = {rows_operand("dy", problem),
                   x_operand(problem),
                   channel_operand("gamma", problem),
                   channel_operand("mean", problem),
                   channel_operand("inverse_std", problem),
                   rows_operand("dx", problem, role_of(dx_mode)),
                   channel_operand("dgamma", problem, role_of(parameter_mode)),
                   channel_operand("dbeta", problem, role_of(parameter_mode))};
  for (OperandSpec& spec : call.operands) spec.accuracy = accuracy_for(problem);
  call.operands[5].aliases = in_place ? 0 : -1;
  call.prepare = [=](Values& values) { save_moments(problem, values[1], values[3], values[4]); };
  call.run = [=](Context& context, DType dtype, std::span<const TensorView> v, Workspace workspace) {
    batch_norm_backward(context, params_of(problem, dtype), v[0], v[1], v[2], v[3], v[4], v[5], dx_mode, v[6],
                        v[7], parameter_mode, workspace);
  };
  call.rows = rows_for(problem);
  call.workspace = workspace_for(problem);
  call.magnitude = [=](const Values& before, const Values& after) {
    return backward_magnitude(problem, before, after);
  };
  call.pass = Pass::backward;
  call.accumulates = dx_mode == GradMode::accumulate;
  call.flops = 10.0 * static_cast<double>(problem.rows * problem.channels);
  return call;
}

}  // namespace

std::vector<KernelCase> cases_of(const BatchNormParams& params) {
  const Problem problem{params.rows, params.channels};
  return {training_case(problem), inference_case(problem, false),
          backward_case(problem, GradMode::overwrite, GradMode::overwrite, true)};
}

std::vector<KernelCase> batch_norm_cases() {
  std::vector<KernelCase> cases;
  for (const Problem& problem : kProblems) {
    cases.push_back(training_case(problem));
    cases.push_back(inference_case(problem, false));
    cases.push_back(backward_case(problem, GradMode::overwrite, GradMode::overwrite, false));
    cases.push_back(backward_case(problem, GradMode::accumulate, GradMode::accumulate, false));
  }
  for (const Problem& problem : {Problem{1, 5}, Problem{1, 8}, Problem{0, 8}})
    cases.push_back(inference_case(problem, false));
  for (const Problem& problem : {Problem{37, 17}, Problem{64, 16}}) {
    cases.push_back(inference_case(problem, true));
    cases.push_back(backward_case(problem, GradMode::overwrite, GradMode::accumulate, true));
    cases.push_back(backward_case(problem, GradMode::skip, GradMode::overwrite, false));
    cases.push_back(backward_case(problem, GradMode::skip, GradMode::accumulate, false));
    cases.push_back(backward_case(problem, GradMode::overwrite, GradMode::skip, false));
    cases.push_back(backward_case(problem, GradMode::skip, GradMode::skip, false));
  }
  return cases;
}

}  // namespace zeroth::check
