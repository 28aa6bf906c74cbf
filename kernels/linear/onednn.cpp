// Fully connected layer on the CPU: three matrix products through oneDNN, f32 and bf16 storage.

#include "kernels/core/onednn.h"

#include <map>
#include <memory>
#include <tuple>

#include "kernels/linear/linear.h"

namespace zeroth::cpu {

namespace {

using dnnl::memory;

enum class Product { forward, data, weight };

struct Plan {
  dnnl::matmul primitive;
  memory::desc a, b, c, bias, scratchpad;
};

struct Plans {
  std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t, DType, Product, GradMode>,
           std::unique_ptr<Plan>>
      by_problem;
};

std::unique_ptr<Plan> make_plan(const OneDnn& onednn, const LinearParams& p, Product product, GradMode mode) {
  const memory::data_type type = onednn_type(p.dtype);
  // A matrix of `rows` x `columns`, or the transpose of one that is stored the other way round.
  const auto matrix = [&](std::int64_t rows, std::int64_t columns, bool transposed) {
    return memory::desc({rows, columns}, type, transposed ? memory::dims{1, rows} : memory::dims{columns, 1});
  };
  auto plan = std::make_unique<Plan>();
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (mode == GradMode::accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
  if (product == Product::forward) {
    plan->a = matrix(p.n, p.c, false);
    plan->b = matrix(p.c, p.k, true);
    plan->c = matrix(p.n, p.k, false);
    plan->bias = memory::desc({1, p.k}, memory::data_type::f32, memory::dims{p.k, 1});
  } else if (product == Product::data) {
    plan->a = matrix(p.n, p.k, false);
    plan->b = matrix(p.k, p.c, false);
    plan->c = matrix(p.n, p.c, false);
  } else {
    plan->a = matrix(p.k, p.n, true);
    plan->b = matrix(p.n, p.c, false);
    plan->c = matrix(p.k, p.c, false);
  }
  const auto problem = product == Product::forward ? dnnl::matmul::desc(plan->a, plan->b, plan->bias, plan->c)
                                                   : dnnl::matmul::desc(plan->a, plan->b, plan->c);
  const dnnl::matmul::primitive_desc description(problem, attributes, onednn.engine);
  plan->scratchpad = description.scratchpad_desc();
  plan->primitive = dnnl::matmul(description);
  return plan;
}

const Plan& plan_for(Context& context, const LinearParams& p, Product product, GradMode mode) {
  std::unique_ptr<Plan>& plan = context.state<Plans>().by_problem[{p.n, p.c, p.k, p.dtype, product, mode}];
  if (!plan) plan = make_plan(context.state<OneDnn>(), p, product, mode);
  return *plan;
}

void run(Context& context, const LinearParams& params, Product product, GradMode mode, const void* a,
         const void* b, const void* bias, void* c, Workspace workspace) {
  if (params.n == 0 && product != Product::weight) return;
  with_onednn_errors("linear", [&] {
    OneDnn& onednn = context.state<OneDnn>();
    const Plan& plan = plan_for(context, params, product, mode);
    WorkspaceCutter cutter(workspace);
    std::unordered_map<int, memory> arguments{
        {DNNL_ARG_SRC, onednn.memory(plan.a, a)},
        {DNNL_ARG_WEIGHTS, onednn.memory(plan.b, b)},
        {DNNL_ARG_DST, onednn.memory(plan.c, c)},
        {DNNL_ARG_SCRATCHPAD, onednn.memory(plan.scratchpad, cutter.take(plan.scratchpad.get_size()))}};
    if (bias != nullptr) arguments.emplace(DNNL_ARG_BIAS, onednn.memory(plan.bias, bias));
    plan.primitive.execute(onednn.stream, arguments);
  });
}

bool supports(const LinearParams& params) {
  return params.n > 0 && (params.dtype == DType::f32 || (params.dtype == DType::bf16 && onednn_has_bf16()));
}

std::size_t workspace(Context& context, const LinearParams& params) {
  return with_onednn_errors("linear", [&] {
    std::size_t most = 0;
    for (const auto& [product, mode] :
         {std::pair{Product::forward, GradMode::overwrite}, std::pair{Product::data, GradMode::overwrite},
          std::pair{Product::data, GradMode::accumulate}, std::pair{Product::weight, GradMode::overwrite},
          std::pair{Product::weight, GradMode::accumulate}})
      most = std::max(
          most, WorkspaceCutter::padded(plan_for(context, params, product, mode).scratchpad.get_size()));
    return most;
  });
}

void forward(Context& context, const LinearParams& params, ConstTensorView x, ConstTensorView w,
             ConstTensorView bias, TensorView y, Workspace workspace) {
  run(context, params, Product::forward, GradMode::overwrite, x.data, w.data, bias.data, y.data, workspace);
}

void backward_data(Context& context, const LinearParams& params, ConstTensorView dy, ConstTensorView w,
                   TensorView dx, GradMode mode, Workspace workspace) {
  run(context, params, Product::data, mode, dy.data, w.data, nullptr, dx.data, workspace);
}

void backward_weight(Context& context, const LinearParams& params, ConstTensorView x, ConstTensorView dy,
                     TensorView dw, TensorView dbias_view, GradMode mode, Workspace workspace) {
  run(context, params, Product::weight, mode, dy.data, x.data, nullptr, dw.data, workspace);
  float* dbias = dbias_view.as<float>();
  const auto column_sums = [&](const auto* rows) {
    for (std::int64_t k = 0; k < params.k; ++k) {
      double sum = 0.0;
      for (std::int64_t n = 0; n < params.n; ++n) sum += to_compute(rows[n * params.k + k]);
      dbias[k] = static_cast<float>(mode == GradMode::accumulate ? dbias[k] + sum : sum);
    }
  };
  if (params.dtype == DType::bf16)
    column_sums(dy.as<bf16>());
  else
    column_sums(dy.as<float>());
}

}  // namespace

const LinearRow linear_row{
    {"onednn", DeviceKind::cpu, true}, supports, workspace, forward, backward_data, backward_weight};

}  // namespace zeroth::cpu
