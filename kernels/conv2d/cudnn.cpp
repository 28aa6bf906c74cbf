// Convolution through cuDNN's graph API: a graph of one operation, f32, bf16 or f16 storage, sums in f32. f32
// stays f32 unless the Context allows TF32. A gradient is accumulated by the operation's beta, in the same
// kernel or one that cuDNN puts behind it. A plan is chosen for each problem when it is first met, by cuDNN
// or, where the Context says so, by timing (kernels/core/cudnn.h), and kept in the Context.

#include "kernels/conv2d/cudnn.h"

#include <fmt/format.h>

#include <memory>
#include <unordered_map>

#include "kernels/core/workspace_cutter.h"

namespace zeroth::cudnn {

namespace {

enum TensorNumber : std::int64_t { kX = 1, kW, kY };

struct ProblemHash {
  std::size_t operator()(const ConvolutionProblem& problem) const {
    const Conv2dParams& a = problem.params;
    std::size_t hash = 0;
    for (const std::int64_t value :
         {a.n, a.h, a.w, a.c, a.k, a.r, a.s, a.stride, a.padding, static_cast<std::int64_t>(a.dtype),
          static_cast<std::int64_t>(problem.pass), static_cast<std::int64_t>(problem.mode),
          std::int64_t{problem.tf32}})
      hash = hash * 1099511628211u + static_cast<std::size_t>(value);
    return hash;
  }
};

struct Choices {
  std::unordered_map<ConvolutionProblem, std::unique_ptr<PlanChoice>, ProblemHash> by_problem;
};

PlanChoice& choice_for(Context& context, const ConvolutionProblem& problem) {
  std::unique_ptr<PlanChoice>& choice = context.state<Choices>().by_problem[problem];
  if (!choice)
    choice = std::make_unique<PlanChoice>(
        context, convolution_candidates(Target(handle_of(context)), problem), problem.to_string());
  return *choice;
}

/// Every convolution that the networks and the tests know has plans in every dtype and mode (tests/cudnn).
bool supports(const Conv2dParams& params, Conv2dPass) {
  return params.n > 0 &&
         (params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16);
}

std::size_t result_bytes(const Conv2dParams& a, Conv2dPass pass) {
  const Shape shape = pass == Conv2dPass::forward         ? a.y_shape()
                      : pass == Conv2dPass::backward_data ? a.x_shape()
                                                          : a.w_shape();
  return static_cast<std::size_t>(shape.elements()) * size_of(a.dtype);
}

/// A plan's own; while there is none, also a result that timed runs may write.
std::size_t workspace(Context& context, const Conv2dParams& params, Conv2dPass pass, GradMode mode) {
  const PlanChoice& choice = choice_for(context, {params, pass, mode, context.tf32()});
  if (choice.plan) return choice.workspace;
  return WorkspaceCutter::padded(choice.workspace) + WorkspaceCutter::padded(result_bytes(params, pass));
}

/// Runs a pass. `result` has the number of the tensor that it writes.
void run(Context& context, const ConvolutionProblem& problem, const Binding& first, const Binding& second,
         const Binding& result, Workspace scratch) {
  PlanChoice& choice = choice_for(context, problem);
  if (!choice.plan) {
    WorkspaceCutter cutter(scratch);
    const Workspace own{cutter.take(choice.workspace), choice.workspace};
    const Binding harmless{result.number, cutter.take(result_bytes(problem.params, problem.pass))};
    settle(context, choice, problem.to_string(), [&](const Plan& plan) {
      execute(context, plan, {first, second, harmless}, own);
    });
  }
  execute(context, *choice.plan, {first, second, result}, scratch);
}

void forward(Context& context, const Conv2dParams& params, ConstTensorView x, ConstTensorView w, TensorView y,
             Workspace scratch) {
  run(context, {params, Conv2dPass::forward, GradMode::overwrite, context.tf32()}, {kX, x.data}, {kW, w.data},
      {kY, y.data}, scratch);
}

void backward_data(Context& context, const Conv2dParams& params, ConstTensorView dy, ConstTensorView w,
                   TensorView dx, GradMode mode, Workspace scratch) {
  run(context, {params, Conv2dPass::backward_data, mode, context.tf32()}, {kY, dy.data}, {kW, w.data},
      {kX, dx.data}, scratch);
}

void backward_weight(Context& context, const Conv2dParams& params, ConstTensorView x, ConstTensorView dy,
                     TensorView dw, GradMode mode, Workspace scratch) {
  run(context, {params, Conv2dPass::backward_weight, mode, context.tf32()}, {kX, x.data}, {kY, dy.data},
      {kW, dw.data}, scratch);
}

}  // namespace

std::string ConvolutionProblem::to_string() const {
  const char* name = pass == Conv2dPass::forward         ? "forward"
                     : pass == Conv2dPass::backward_data ? "backward data"
                                                         : "backward weight";
  return fmt::format("conv2d {} {}{}{}", name, params.to_string(), tf32 ? " with TF32" : "",
                     mode == GradMode::accumulate ? ", accumulated" : "");
}

std::vector<Candidate> convolution_candidates(const Target& target, const ConvolutionProblem& problem) {
  const Conv2dParams& a = problem.params;
  const Descriptor x = tensor(kX, a.n, a.h, a.w, a.c, a.dtype), w = tensor(kW, a.k, a.r, a.s, a.c, a.dtype),
                   y = tensor(kY, a.n, a.p(), a.q(), a.k, a.dtype);

  Descriptor window(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  window.set<CUDNN_ATTR_CONVOLUTION_COMP_TYPE>(CUDNN_DATA_FLOAT)
      .set<CUDNN_ATTR_CONVOLUTION_CONV_MODE>(CUDNN_CROSS_CORRELATION)
      .set<CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS>(std::int64_t{2})
      .set<CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES>({a.stride, a.stride})
      .set<CUDNN_ATTR_CONVOLUTION_DILATIONS>({1, 1})
      .set<CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS>({a.padding, a.padding})
      .set<CUDNN_ATTR_CONVOLUTION_POST_PADDINGS>({a.padding, a.padding})
      .finalize();

  const float alpha = 1.0f, beta = problem.mode == GradMode::accumulate ? 1.0f : 0.0f;
  std::vector<Descriptor> operations;
  if (problem.pass == Conv2dPass::forward)
    operations.emplace_back(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR)
        .set<CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC>(window)
        .set<CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X>(x)
        .set<CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W>(w)
        .set<CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y>(y)
        .set<CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA>(alpha)
        .set<CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA>(beta)
        .finalize();
  else if (problem.pass == Conv2dPass::backward_data)
    operations.emplace_back(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR)
        .set<CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC>(window)
        .set<CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY>(y)
        .set<CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W>(w)
        .set<CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX>(x)
        .set<CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA>(alpha)
        .set<CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA>(beta)
        .finalize();
  else
    operations.emplace_back(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR)
        .set<CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC>(window)
        .set<CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X>(x)
        .set<CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY>(y)
        .set<CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW>(w)
        .set<CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA>(alpha)
        .set<CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA>(beta)
        .finalize();
  const bool tensor_cores = a.dtype != DType::f32 || problem.tf32;
  return candidates(target, operation_graph(target, operations), tensor_cores);
}

const Conv2dRow conv2d_row{
    {"cudnn", DeviceKind::cuda, true}, supports, workspace, forward, backward_data, backward_weight};

}  // namespace zeroth::cudnn
