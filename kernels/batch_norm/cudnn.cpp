// Batch normalisation through cuDNN's graph API. Training and backward are one operation each, its statistics
// in f32. cuDNN has no inference from running moments, so that is a graph of elementwise operations, which it
// fuses. All three are kernels that cuDNN compiles when a problem is first met, which takes a second; they
// are kept in the Context.
//
// cuDNN's conventions are the contract's: the factor of the running moments weighs the new ones, the variance
// that runs is unbiased, 1 / sqrt(var + eps) is saved. Where they differ:
//   - it does not promise that results may lie where operands lie. What would, goes to the workspace and is
//   copied;
//   - it only overwrites gradients. Accumulating ones are left to the hand-written row: adding afterwards
//   would round
//     16-bit gradients twice.

#include "kernels/batch_norm/cudnn.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

#include "kernels/core/workspace_cutter.h"

namespace zeroth::cudnn {

namespace {

enum TensorNumber : std::int64_t {
  kX = 1,
  kY,
  kGamma,
  kBeta,
  kMean,
  kInverseStd,
  kRunningMean,
  kRunningVar,
  kNextMean,
  kNextVar,
  kDy,
  kDx,
  kDgamma,
  kDbeta,
  kEps,
  kMomentum,
  kFirstIntermediate
};

/// The pictures as the operations see them: rows of one pixel each.
Descriptor rows_tensor(const NormProblem& p, std::int64_t number) {
  return tensor(number, p.rows, 1, 1, p.channels, p.dtype);
}

Descriptor channel_tensor(const NormProblem& p, std::int64_t number) {
  return tensor(number, 1, 1, 1, p.channels, DType::f32);
}

Descriptor training_operation(const NormProblem& p) {
  Descriptor operation(CUDNN_BACKEND_OPERATION_NORM_FORWARD_DESCRIPTOR);
  operation.set<CUDNN_ATTR_OPERATION_NORM_FWD_MODE>(CUDNN_BATCH_NORM)
      .set<CUDNN_ATTR_OPERATION_NORM_FWD_PHASE>(CUDNN_NORM_FWD_TRAINING)
      .set<CUDNN_ATTR_OPERATION_NORM_FWD_XDESC>(rows_tensor(p, kX))
      .set<CUDNN_ATTR_OPERATION_NORM_FWD_SCALE_DESC>(channel_tensor(p, kGamma))
      .set<CUDNN_ATTR_OPERATION_NORM_FWD_BIAS_DESC>(channel_tensor(p, kBeta))
      .set<CUDNN_ATTR_OPERATION_NORM_FWD_EPSILON_DESC>(host_number(kEps))
      .set<CUDNN_ATTR_OPERATION_NORM_FWD_EXP_AVG_FACTOR_DESC>(host_number(kMomentum))
      .set<CUDNN_ATTR_OPERATION_NORM_FWD_INPUT_RUNNING_MEAN_DESC>(channel_tensor(p, kRunningMean))
      .set<CUDNN_ATTR_OPERATION_NORM_FWD_INPUT_RUNNING_VAR_DESC>(channel_tensor(p, kRunningVar))
      .set<CUDNN_ATTR_OPERATION_NORM_FWD_OUTPUT_RUNNING_MEAN_DESC>(channel_tensor(p, kNextMean))
      .set<CUDNN_ATTR_OPERATION_NORM_FWD_OUTPUT_RUNNING_VAR_DESC>(channel_tensor(p, kNextVar))
      .set<CUDNN_ATTR_OPERATION_NORM_FWD_MEAN_DESC>(channel_tensor(p, kMean))
      .set<CUDNN_ATTR_OPERATION_NORM_FWD_INV_VARIANCE_DESC>(channel_tensor(p, kInverseStd))
      .set<CUDNN_ATTR_OPERATION_NORM_FWD_YDESC>(rows_tensor(p, kY))
      .finalize();
  return operation;
}

Descriptor backward_operation(const NormProblem& p) {
  Descriptor operation(CUDNN_BACKEND_OPERATION_NORM_BACKWARD_DESCRIPTOR);
  operation.set<CUDNN_ATTR_OPERATION_NORM_BWD_MODE>(CUDNN_BATCH_NORM)
      .set<CUDNN_ATTR_OPERATION_NORM_BWD_DYDESC>(rows_tensor(p, kDy))
      .set<CUDNN_ATTR_OPERATION_NORM_BWD_XDESC>(rows_tensor(p, kX))
      .set<CUDNN_ATTR_OPERATION_NORM_BWD_SCALE_DESC>(channel_tensor(p, kGamma))
      .set<CUDNN_ATTR_OPERATION_NORM_BWD_MEAN_DESC>(channel_tensor(p, kMean))
      .set<CUDNN_ATTR_OPERATION_NORM_BWD_INV_VARIANCE_DESC>(channel_tensor(p, kInverseStd))
      .set<CUDNN_ATTR_OPERATION_NORM_BWD_DXDESC>(rows_tensor(p, kDx))
      .set<CUDNN_ATTR_OPERATION_NORM_BWD_DSCALE_DESC>(channel_tensor(p, kDgamma))
      .set<CUDNN_ATTR_OPERATION_NORM_BWD_DBIAS_DESC>(channel_tensor(p, kDbeta))
      .finalize();
  return operation;
}

/// y = mode(a) or mode(a, b), in f32.
Descriptor elementwise(cudnnPointwiseMode_t mode, const Descriptor& y, const Descriptor& a,
                       const Descriptor* b = nullptr) {
  Descriptor function(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  function.set<CUDNN_ATTR_POINTWISE_MODE>(mode)
      .set<CUDNN_ATTR_POINTWISE_MATH_PREC>(CUDNN_DATA_FLOAT)
      .finalize();
  Descriptor operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  operation.set<CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR>(function)
      .set<CUDNN_ATTR_OPERATION_POINTWISE_XDESC>(a)
      .set<CUDNN_ATTR_OPERATION_POINTWISE_YDESC>(y);
  if (b != nullptr) operation.set<CUDNN_ATTR_OPERATION_POINTWISE_BDESC>(*b);
  operation.finalize();
  return operation;
}

/// y = (x - mean) * rsqrt(var + eps) * gamma + beta
std::vector<Descriptor> inference_operations(const NormProblem& p) {
  std::int64_t next = kFirstIntermediate;
  const auto channels = [&] { return intermediate(next++, 1, 1, 1, p.channels); };
  const auto rows = [&] { return intermediate(next++, p.rows, 1, 1, p.channels); };
  const Descriptor var = channel_tensor(p, kRunningVar), mean = channel_tensor(p, kRunningMean),
                   gamma = channel_tensor(p, kGamma), beta = channel_tensor(p, kBeta),
                   eps = host_number(kEps);
  const Descriptor sum = channels(), inverse_std = channels(), centred = rows(), x_hat = rows(),
                   scaled = rows();
  std::vector<Descriptor> operations;
  operations.push_back(elementwise(CUDNN_POINTWISE_ADD, sum, var, &eps));
  operations.push_back(elementwise(CUDNN_POINTWISE_RSQRT, inverse_std, sum));
  operations.push_back(elementwise(CUDNN_POINTWISE_SUB, centred, rows_tensor(p, kX), &mean));
  operations.push_back(elementwise(CUDNN_POINTWISE_MUL, x_hat, centred, &inverse_std));
  operations.push_back(elementwise(CUDNN_POINTWISE_MUL, scaled, x_hat, &gamma));
  operations.push_back(elementwise(CUDNN_POINTWISE_ADD, rows_tensor(p, kY), scaled, &beta));
  return operations;
}

/// A problem's candidates, and the plan once it has run.
struct Entry {
  std::vector<Candidate> candidates;
  std::size_t workspace = 0;  ///< enough for any candidate
  std::optional<Plan> plan;
};

struct Entries {
  std::map<NormProblem, Entry> by_problem;
};

Entry& entry_for(Context& context, const NormProblem& problem) {
  const auto [found, added] = context.state<Entries>().by_problem.try_emplace(problem);
  Entry& entry = found->second;
  if (added) {
    entry.candidates = norm_candidates(Target(handle_of(context)), problem);
    for (const Candidate& candidate : entry.candidates)
      entry.workspace = std::max(entry.workspace, candidate.workspace);
  }
  return entry;
}

const Plan& plan_for(Context& context, const NormProblem& problem) {
  Entry& entry = entry_for(context, problem);
  if (!entry.plan)
    entry.plan =
        first_plan(Target(handle_of(context)), std::exchange(entry.candidates, {}), problem.to_string());
  return *entry.plan;
}

std::size_t rows_bytes(const BatchNormParams& params) {
  return static_cast<std::size_t>(params.rows * params.channels) * size_of(params.dtype);
}

std::size_t channel_bytes(const BatchNormParams& params) {
  return static_cast<std::size_t>(params.channels) * sizeof(float);
}

/// cuDNN's kernels read and write packs of 16 bytes along the channels.
bool supports(const BatchNormParams& params) {
  return params.rows > 0 && params.group == nullptr &&
         (params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16) &&
         static_cast<std::size_t>(params.channels) * size_of(params.dtype) % 16 == 0;
}

/// A plan's own, then one tensor of rows and two of channels for results that wait for a copy or that nobody
/// wants.
std::size_t workspace(Context& context, const BatchNormParams& params) {
  std::size_t plan = 0;
  for (const NormPass pass : {NormPass::training, NormPass::inference, NormPass::backward})
    plan = std::max(plan, entry_for(context, {params, pass}).workspace);
  const std::size_t bytes = WorkspaceCutter::padded(plan) + WorkspaceCutter::padded(rows_bytes(params)) +
                            2 * WorkspaceCutter::padded(channel_bytes(params));
  return std::max(bytes, cuda_native::batch_norm_row.workspace(context, params));
}

void forward_training(Context& context, const BatchNormParams& params, ConstTensorView x,
                      ConstTensorView gamma, ConstTensorView beta, TensorView running_mean,
                      TensorView running_var, TensorView y, TensorView mean, TensorView inverse_std,
                      Workspace scratch) {
  const Plan& plan = plan_for(context, {params, NormPass::training});
  WorkspaceCutter cutter(scratch);
  const std::size_t bytes = channel_bytes(params);
  const Workspace own{cutter.take(plan.workspace), plan.workspace};
  void *next_mean = cutter.take(bytes), *next_var = cutter.take(bytes);
  const auto eps = static_cast<float>(params.eps), momentum = static_cast<float>(params.momentum);
  execute(context, plan,
          {{kX, x.data},
           {kGamma, gamma.data},
           {kBeta, beta.data},
           {kEps, &eps},
           {kMomentum, &momentum},
           {kRunningMean, running_mean.data},
           {kRunningVar, running_var.data},
           {kNextMean, next_mean},
           {kNextVar, next_var},
           {kY, y.data},
           {kMean, mean.data},
           {kInverseStd, inverse_std.data}},
          own);
  context.memory().copy_on_device(running_mean.data, next_mean, bytes, context.stream());
  context.memory().copy_on_device(running_var.data, next_var, bytes, context.stream());
}

void forward_inference(Context& context, const BatchNormParams& params, ConstTensorView x,
                       ConstTensorView gamma, ConstTensorView beta, ConstTensorView running_mean,
                       ConstTensorView running_var, TensorView y, Workspace scratch) {
  const Plan& plan = plan_for(context, {params, NormPass::inference});
  WorkspaceCutter cutter(scratch);
  const Workspace own{cutter.take(plan.workspace), plan.workspace};
  const bool in_place = y.data == x.data;
  void* result = in_place ? cutter.take(rows_bytes(params)) : y.data;
  const auto eps = static_cast<float>(params.eps);
  execute(context, plan,
          {{kX, x.data},
           {kGamma, gamma.data},
           {kBeta, beta.data},
           {kRunningMean, running_mean.data},
           {kRunningVar, running_var.data},
           {kEps, &eps},
           {kY, result}},
          own);
  if (in_place) context.memory().copy_on_device(y.data, result, rows_bytes(params), context.stream());
}

void backward(Context& context, const BatchNormParams& params, ConstTensorView dy, ConstTensorView x,
              ConstTensorView gamma, ConstTensorView mean, ConstTensorView inverse_std, TensorView dx,
              GradMode dx_mode, TensorView dgamma, TensorView dbeta, GradMode parameter_mode,
              Workspace scratch) {
  if (dx_mode == GradMode::accumulate || parameter_mode == GradMode::accumulate) {
    cuda_native::batch_norm_row.backward(context, params, dy, x, gamma, mean, inverse_std, dx, dx_mode,
                                         dgamma, dbeta, parameter_mode, scratch);
    return;
  }
  const Plan& plan = plan_for(context, {params, NormPass::backward});
  WorkspaceCutter cutter(scratch);
  const Workspace own{cutter.take(plan.workspace), plan.workspace};
  const bool in_place = dx_mode == GradMode::overwrite && dx.data == dy.data;
  const bool direct = dx_mode == GradMode::overwrite && !in_place, wanted = parameter_mode != GradMode::skip;
  void* dx_result = direct ? dx.data : cutter.take(rows_bytes(params));
  void* dgamma_result = wanted ? dgamma.data : cutter.take(channel_bytes(params));
  void* dbeta_result = wanted ? dbeta.data : cutter.take(channel_bytes(params));
  execute(context, plan,
          {{kDy, dy.data},
           {kX, x.data},
           {kGamma, gamma.data},
           {kMean, mean.data},
           {kInverseStd, inverse_std.data},
           {kDx, dx_result},
           {kDgamma, dgamma_result},
           {kDbeta, dbeta_result}},
          own);
  if (in_place) context.memory().copy_on_device(dx.data, dx_result, rows_bytes(params), context.stream());
}

}  // namespace

std::string NormProblem::to_string() const {
  const char* name = pass == NormPass::training    ? "training"
                     : pass == NormPass::inference ? "inference"
                                                   : "backward";
  return fmt::format("batch_norm {} {}x{} {}", name, rows, channels, name_of(dtype));
}

std::vector<Candidate> norm_candidates(const Target& target, const NormProblem& problem) {
  std::vector<Descriptor> operations;
  switch (problem.pass) {
    case NormPass::training:
      operations.push_back(training_operation(problem));
      break;
    case NormPass::inference:
      operations = inference_operations(problem);
      break;
    case NormPass::backward:
      operations.push_back(backward_operation(problem));
      break;
  }
  return candidates(target, operation_graph(target, operations), true);
}

const BatchNormRow batch_norm_row{
    {"cudnn", DeviceKind::cuda, true}, supports, workspace, forward_training, forward_inference, backward};

}  // namespace zeroth::cudnn
