// Convolution on the CPU through oneDNN, f32 and bf16 storage. Pictures stay NHWC; the filters are reordered
// on every call into the format that the primitive asks for (with filters in a fixed plain format oneDNN
// falls back to its reference loops), which costs far less than the convolution. Primitives are made once for
// each problem and kept in the Context. The algorithm is the direct one: Winograd's loses accuracy. How sums
// are cut depends on the number of threads, and so do their last bits; split.cpp is the row where they do
// not.

#include "kernels/conv2d/onednn.h"

#include <memory>
#include <unordered_map>

#include "kernels/core/onednn.h"
#include "kernels/core/parallel.h"

namespace zeroth::cpu {

namespace {

using dnnl::memory;

struct Problem {
  Conv2dParams params;
  Conv2dPass pass;
  GradMode mode;
  int threads;  // that the primitive is planned for
  bool operator==(const Problem&) const = default;
};

struct ProblemHash {
  std::size_t operator()(const Problem& problem) const {
    const Conv2dParams& a = problem.params;
    std::size_t hash = 0;
    for (const std::int64_t value :
         {a.n, a.h, a.w, a.c, a.k, a.r, a.s, a.stride, a.padding, static_cast<std::int64_t>(a.dtype),
          static_cast<std::int64_t>(problem.pass), static_cast<std::int64_t>(problem.mode),
          static_cast<std::int64_t>(problem.threads)})
      hash = hash * 1099511628211u + static_cast<std::size_t>(value);
    return hash;
  }
};

/// One pass of one problem, ready to run.
struct Plan {
  dnnl::primitive primitive;
  std::string implementation;
  memory::desc x, y, filters, plain_filters, scratchpad;
  dnnl::reorder reorder;         // plain to filters, or filters to plain for backward_weight
  std::size_t result_bytes = 0;  // for a result in f32 that is added to the gradient afterwards

  std::size_t workspace() const {
    return WorkspaceCutter::padded(filters.get_size()) + WorkspaceCutter::padded(scratchpad.get_size()) +
           WorkspaceCutter::padded(result_bytes);
  }
};

struct Plans {
  std::unordered_map<Problem, std::unique_ptr<Plan>, ProblemHash> by_problem;
};

template <class Description>
void take_primitive(Plan& plan, const Description& description, dnnl::primitive primitive) {
  plan.primitive = std::move(primitive);
  plan.implementation = description.impl_info_str();
  plan.scratchpad = description.scratchpad_desc();
}

std::unique_ptr<Plan> make_plan(const OneDnn& onednn, const Problem& problem) {
  using tag = memory::format_tag;
  const Conv2dParams& a = problem.params;
  const Conv2dPass pass = problem.pass;
  const auto f32 = memory::data_type::f32, storage = onednn_type(a.dtype);
  const bool accumulates = problem.mode == GradMode::accumulate;
  const memory::dims filter_dims{a.k, a.c, a.r, a.s}, strides{a.stride, a.stride};
  // oneDNN wants the padding behind the picture that makes its output size come out exactly.
  const memory::dims before{a.padding, a.padding},
      after{(a.p() - 1) * a.stride + a.r - a.h - a.padding, (a.q() - 1) * a.stride + a.s - a.w - a.padding};
  const memory::desc x({a.n, a.c, a.h, a.w}, storage, tag::nhwc),
      y({a.n, a.k, a.p(), a.q()}, storage, tag::nhwc);
  const memory::desc any_filters(filter_dims, storage, tag::any);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);

  auto plan = std::make_unique<Plan>();
  plan->x = x;
  plan->y = y;
  plan->plain_filters = memory::desc(filter_dims, storage, tag::ohwi);
  const auto algorithm = dnnl::algorithm::convolution_direct;
  const dnnl::convolution_forward::primitive_desc forward(
      {dnnl::prop_kind::forward_training, algorithm, x, any_filters, y, strides, before, after}, attributes,
      onednn.engine);
  if (pass == Conv2dPass::forward) {
    take_primitive(*plan, forward, dnnl::convolution_forward(forward));
    plan->filters = forward.weights_desc();
  } else if (pass == Conv2dPass::backward_data) {
    if (accumulates) {
      plan->x = memory::desc({a.n, a.c, a.h, a.w}, f32, tag::nhwc);
      plan->result_bytes = plan->x.get_size();
    }
    const dnnl::convolution_backward_data::primitive_desc backward(
        {algorithm, plan->x, any_filters, y, strides, before, after}, attributes, onednn.engine, forward);
    take_primitive(*plan, backward, dnnl::convolution_backward_data(backward));
    plan->filters = backward.weights_desc();
  } else {
    const dnnl::convolution_backward_weights::primitive_desc backward(
        {algorithm, x, memory::desc(filter_dims, f32, tag::any), y, strides, before, after}, attributes,
        onednn.engine, forward);
    take_primitive(*plan, backward, dnnl::convolution_backward_weights(backward));
    plan->filters = backward.diff_weights_desc();
    if (accumulates) {
      plan->plain_filters = memory::desc(filter_dims, f32, tag::ohwi);
      plan->result_bytes = plan->plain_filters.get_size();
    }
  }
  const bool writes_filters = pass == Conv2dPass::backward_weight;
  const memory::desc &from = writes_filters ? plan->filters : plan->plain_filters,
                     &to = writes_filters ? plan->plain_filters : plan->filters;
  plan->reorder = dnnl::reorder({onednn.engine, from, onednn.engine, to});
  return plan;
}

const Plan& plan_for(Context& context, const Conv2dParams& params, Conv2dPass pass,
                     GradMode mode = GradMode::overwrite) {
  auto& plans = context.state<Plans>().by_problem;
  const Problem problem{params, pass, mode, omp_get_max_threads()};
  auto found = plans.find(problem);
  if (found == plans.end()) found = plans.emplace(problem, make_plan(context.state<OneDnn>(), problem)).first;
  return *found->second;
}

/// to += from
void add(const void* from_data, TensorView to_view) {
  dispatch_storage(to_view.dtype, [&]<class T>(TypeTag<T>) {
    const float* from = static_cast<const float*>(from_data);
    T* to = to_view.as<T>();
    parallel_for(to_view.elements(), 1, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) to[i] = from_compute<T>(to_compute(to[i]) + from[i]);
    });
  });
}

/// With a stride wider than the picture oneDNN's gradient of bf16 filters takes taps that meet no pixel from
/// scratch memory that it has not written.
bool reads_unwritten(const Conv2dParams& params, Conv2dPass pass) {
  return pass == Conv2dPass::backward_weight && params.dtype == DType::bf16 && params.w < params.stride;
}

bool supports(const Conv2dParams& params, Conv2dPass pass) {
  return params.n > 0 && !reads_unwritten(params, pass) &&
         (params.dtype == DType::f32 || (params.dtype == DType::bf16 && onednn_has_bf16()));
}

std::size_t workspace(Context& context, const Conv2dParams& params, Conv2dPass pass, GradMode mode) {
  return with_onednn_errors("conv2d", [&] { return plan_for(context, params, pass, mode).workspace(); });
}

/// The filters, reordered into a piece of the workspace.
memory reordered_filters(OneDnn& onednn, const Plan& plan, const void* w, WorkspaceCutter& cutter) {
  memory filters = onednn.memory(plan.filters, cutter.take(plan.filters.get_size()));
  memory plain = onednn.memory(plan.plain_filters, w);
  plan.reorder.execute(onednn.stream, plain, filters);
  return filters;
}

memory scratchpad(OneDnn& onednn, const Plan& plan, WorkspaceCutter& cutter) {
  return onednn.memory(plan.scratchpad, cutter.take(plan.scratchpad.get_size()));
}

void forward(Context& context, const Conv2dParams& params, ConstTensorView x, ConstTensorView w, TensorView y,
             Workspace workspace) {
  with_onednn_errors("conv2d", [&] {
    OneDnn& onednn = context.state<OneDnn>();
    const Plan& plan = plan_for(context, params, Conv2dPass::forward);
    WorkspaceCutter cutter(workspace);
    plan.primitive.execute(onednn.stream,
                           {{DNNL_ARG_SRC, onednn.memory(plan.x, x.data)},
                            {DNNL_ARG_WEIGHTS, reordered_filters(onednn, plan, w.data, cutter)},
                            {DNNL_ARG_DST, onednn.memory(plan.y, y.data)},
                            {DNNL_ARG_SCRATCHPAD, scratchpad(onednn, plan, cutter)}});
  });
}

void backward_data(Context& context, const Conv2dParams& params, ConstTensorView dy, ConstTensorView w,
                   TensorView dx, GradMode mode, Workspace workspace) {
  with_onednn_errors("conv2d backward data", [&] {
    OneDnn& onednn = context.state<OneDnn>();
    const Plan& plan = plan_for(context, params, Conv2dPass::backward_data, mode);
    WorkspaceCutter cutter(workspace);
    void* result = mode == GradMode::overwrite ? dx.data : cutter.take(plan.result_bytes);
    plan.primitive.execute(onednn.stream,
                           {{DNNL_ARG_DIFF_DST, onednn.memory(plan.y, dy.data)},
                            {DNNL_ARG_WEIGHTS, reordered_filters(onednn, plan, w.data, cutter)},
                            {DNNL_ARG_DIFF_SRC, onednn.memory(plan.x, result)},
                            {DNNL_ARG_SCRATCHPAD, scratchpad(onednn, plan, cutter)}});
    if (mode == GradMode::accumulate) add(result, dx);
  });
}

/// The gradient of the filters into `result`, in their dtype to overwrite, in f32 to accumulate.
void filter_gradient(OneDnn& onednn, const Plan& plan, ConstTensorView x, ConstTensorView dy,
                     WorkspaceCutter& cutter, void* result) {
  with_onednn_errors("conv2d backward weight", [&] {
    memory filters = onednn.memory(plan.filters, cutter.take(plan.filters.get_size()));
    plan.primitive.execute(onednn.stream, {{DNNL_ARG_SRC, onednn.memory(plan.x, x.data)},
                                           {DNNL_ARG_DIFF_DST, onednn.memory(plan.y, dy.data)},
                                           {DNNL_ARG_DIFF_WEIGHTS, filters},
                                           {DNNL_ARG_SCRATCHPAD, scratchpad(onednn, plan, cutter)}});
    memory plain = onednn.memory(plan.plain_filters, result);
    plan.reorder.execute(onednn.stream, filters, plain);
  });
}

void backward_weight(Context& context, const Conv2dParams& params, ConstTensorView x, ConstTensorView dy,
                     TensorView dw, GradMode mode, Workspace workspace) {
  const Plan& plan = plan_for(context, params, Conv2dPass::backward_weight, mode);
  WorkspaceCutter cutter(workspace);
  void* result = mode == GradMode::overwrite ? dw.data : cutter.take(plan.result_bytes);
  filter_gradient(context.state<OneDnn>(), plan, x, dy, cutter, result);
  if (mode == GradMode::accumulate) add(result, dw);
}

}  // namespace

void conv2d_onednn_filter_sums(Context& context, const Conv2dParams& params, ConstTensorView x,
                               ConstTensorView dy, float* sums, Workspace workspace) {
  WorkspaceCutter cutter(workspace);
  filter_gradient(context.state<OneDnn>(),
                  plan_for(context, params, Conv2dPass::backward_weight, GradMode::accumulate), x, dy, cutter,
                  sums);
}

std::string conv2d_onednn_implementation(Context& context, const Conv2dParams& params, Conv2dPass pass) {
  return with_onednn_errors("conv2d", [&] { return plan_for(context, params, pass).implementation; });
}

const Conv2dRow conv2d_row{
    {"onednn", DeviceKind::cpu, false}, supports, workspace, forward, backward_data, backward_weight};

}  // namespace zeroth::cpu
