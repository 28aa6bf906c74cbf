// Convolution on the CPU through oneDNN, f32. Pictures stay NHWC; the filters are reordered on every call
// into the format that the primitive asks for (with filters in a fixed plain format oneDNN falls back to its
// reference loops), which costs far less than the convolution. Primitives are made once for each problem and
// kept in the Context.

#include "kernels/core/onednn.h"

#include <memory>
#include <unordered_map>

#include "kernels/conv2d/conv2d.h"
#include "kernels/core/parallel.h"

namespace zeroth::cpu {

namespace {

using dnnl::memory;

/// One pass of one problem, ready to run. For backward_weight, `filters` is what the primitive writes.
struct Plan {
  dnnl::primitive primitive;
  memory::desc x, y, filters, plain_filters, scratchpad;
  dnnl::reorder reorder;         // plain to filters, or filters to plain for backward_weight
  std::size_t result_bytes = 0;  // room for a result that is added to the gradient afterwards

  std::size_t workspace() const {
    return WorkspaceCutter::padded(filters.get_size()) + WorkspaceCutter::padded(scratchpad.get_size()) +
           WorkspaceCutter::padded(result_bytes);
  }
};

struct Key {
  Conv2dParams params;
  Conv2dPass pass;
  bool operator==(const Key&) const = default;
};

struct KeyHash {
  std::size_t operator()(const Key& key) const {
    std::size_t hash = static_cast<std::size_t>(key.pass);
    const Conv2dParams& a = key.params;
    for (const std::int64_t value : {a.n, a.h, a.w, a.c, a.k, a.r, a.s, a.stride, a.padding})
      hash = hash * 1099511628211u + static_cast<std::size_t>(value);
    return hash;
  }
};

struct Plans {
  std::unordered_map<Key, std::unique_ptr<Plan>, KeyHash> by_problem;
};

std::unique_ptr<Plan> make_plan(const OneDnn& onednn, const Conv2dParams& a, Conv2dPass pass) {
  using tag = memory::format_tag;
  const auto f32 = memory::data_type::f32;
  const memory::dims filter_dims{a.k, a.c, a.r, a.s}, strides{a.stride, a.stride};
  // oneDNN wants the padding behind the picture that makes its output size come out exactly.
  const memory::dims before{a.padding, a.padding},
      after{(a.p() - 1) * a.stride + a.r - a.h - a.padding, (a.q() - 1) * a.stride + a.s - a.w - a.padding};
  const memory::desc x({a.n, a.c, a.h, a.w}, f32, tag::nhwc), y({a.n, a.k, a.p(), a.q()}, f32, tag::nhwc);
  const memory::desc any_filters(filter_dims, f32, tag::any), plain(filter_dims, f32, tag::ohwi);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);

  auto plan = std::make_unique<Plan>();
  plan->x = x;
  plan->y = y;
  plan->plain_filters = plain;
  const auto algorithm = dnnl::algorithm::convolution_direct;
  const dnnl::convolution_forward::primitive_desc forward(
      {dnnl::prop_kind::forward_training, algorithm, x, any_filters, y, strides, before, after}, attributes,
      onednn.engine);
  if (pass == Conv2dPass::forward) {
    plan->filters = forward.weights_desc();
    plan->scratchpad = forward.scratchpad_desc();
    plan->primitive = dnnl::convolution_forward(forward);
  } else if (pass == Conv2dPass::backward_data) {
    const dnnl::convolution_backward_data::primitive_desc backward(
        {algorithm, x, any_filters, y, strides, before, after}, attributes, onednn.engine, forward);
    plan->filters = backward.weights_desc();
    plan->scratchpad = backward.scratchpad_desc();
    plan->primitive = dnnl::convolution_backward_data(backward);
    plan->result_bytes = x.get_size();
  } else {
    const dnnl::convolution_backward_weights::primitive_desc backward(
        {algorithm, x, any_filters, y, strides, before, after}, attributes, onednn.engine, forward);
    plan->filters = backward.diff_weights_desc();
    plan->scratchpad = backward.scratchpad_desc();
    plan->primitive = dnnl::convolution_backward_weights(backward);
    plan->result_bytes = plain.get_size();
  }
  const bool writes_filters = pass == Conv2dPass::backward_weight;
  plan->reorder = dnnl::reorder({onednn.engine, writes_filters ? plan->filters : plain, onednn.engine,
                                 writes_filters ? plain : plan->filters});
  return plan;
}

const Plan& plan_for(Context& context, const Conv2dParams& params, Conv2dPass pass) {
  std::unique_ptr<Plan>& plan = context.state<Plans>().by_problem[{params, pass}];
  if (!plan) plan = make_plan(context.state<OneDnn>(), params, pass);
  return *plan;
}

void add(const float* from, float* to, std::int64_t count) {
  parallel_for(count, 1, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) to[i] += from[i];
  });
}

bool supports(const Conv2dParams& params, Conv2dPass) {
  return params.dtype == DType::f32 && params.n > 0;
}

std::size_t workspace(Context& context, const Conv2dParams& params, Conv2dPass pass) {
  return with_onednn_errors("conv2d", [&] { return plan_for(context, params, pass).workspace(); });
}

void forward(Context& context, const Conv2dParams& params, ConstTensorView x, ConstTensorView w, TensorView y,
             Workspace workspace) {
  with_onednn_errors("conv2d", [&] {
    OneDnn& onednn = context.state<OneDnn>();
    const Plan& plan = plan_for(context, params, Conv2dPass::forward);
    WorkspaceCutter cutter(workspace);
    memory filters = onednn.memory(plan.filters, cutter.take(plan.filters.get_size()));
    memory plain = onednn.memory(plan.plain_filters, w.data);
    plan.reorder.execute(onednn.stream, plain, filters);
    plan.primitive.execute(
        onednn.stream,
        {{DNNL_ARG_SRC, onednn.memory(plan.x, x.data)},
         {DNNL_ARG_WEIGHTS, filters},
         {DNNL_ARG_DST, onednn.memory(plan.y, y.data)},
         {DNNL_ARG_SCRATCHPAD, onednn.memory(plan.scratchpad, cutter.take(plan.scratchpad.get_size()))}});
  });
}

void backward_data(Context& context, const Conv2dParams& params, ConstTensorView dy, ConstTensorView w,
                   TensorView dx, GradMode mode, Workspace workspace) {
  with_onednn_errors("conv2d backward data", [&] {
    OneDnn& onednn = context.state<OneDnn>();
    const Plan& plan = plan_for(context, params, Conv2dPass::backward_data);
    WorkspaceCutter cutter(workspace);
    memory filters = onednn.memory(plan.filters, cutter.take(plan.filters.get_size()));
    memory plain = onednn.memory(plan.plain_filters, w.data);
    plan.reorder.execute(onednn.stream, plain, filters);
    void* scratchpad = cutter.take(plan.scratchpad.get_size());
    void* result = mode == GradMode::overwrite ? dx.data : cutter.take(plan.result_bytes);
    plan.primitive.execute(onednn.stream,
                           {{DNNL_ARG_DIFF_DST, onednn.memory(plan.y, dy.data)},
                            {DNNL_ARG_WEIGHTS, filters},
                            {DNNL_ARG_DIFF_SRC, onednn.memory(plan.x, result)},
                            {DNNL_ARG_SCRATCHPAD, onednn.memory(plan.scratchpad, scratchpad)}});
    if (mode == GradMode::accumulate) add(static_cast<const float*>(result), dx.as<float>(), dx.elements());
  });
}

void backward_weight(Context& context, const Conv2dParams& params, ConstTensorView x, ConstTensorView dy,
                     TensorView dw, GradMode mode, Workspace workspace) {
  with_onednn_errors("conv2d backward weight", [&] {
    OneDnn& onednn = context.state<OneDnn>();
    const Plan& plan = plan_for(context, params, Conv2dPass::backward_weight);
    WorkspaceCutter cutter(workspace);
    memory filters = onednn.memory(plan.filters, cutter.take(plan.filters.get_size()));
    void* scratchpad = cutter.take(plan.scratchpad.get_size());
    plan.primitive.execute(onednn.stream,
                           {{DNNL_ARG_SRC, onednn.memory(plan.x, x.data)},
                            {DNNL_ARG_DIFF_DST, onednn.memory(plan.y, dy.data)},
                            {DNNL_ARG_DIFF_WEIGHTS, filters},
                            {DNNL_ARG_SCRATCHPAD, onednn.memory(plan.scratchpad, scratchpad)}});
    void* result = mode == GradMode::overwrite ? dw.data : cutter.take(plan.result_bytes);
    memory plain = onednn.memory(plan.plain_filters, result);
    plan.reorder.execute(onednn.stream, filters, plain);
    if (mode == GradMode::accumulate) add(static_cast<const float*>(result), dw.as<float>(), dw.elements());
  });
}

}  // namespace

const Conv2dRow conv2d_row{
    {"onednn", DeviceKind::cpu, true}, supports, workspace, forward, backward_data, backward_weight};

}  // namespace zeroth::cpu
