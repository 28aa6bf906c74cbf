// Fully connected layer on the CPU: three matrix products through oneDNN, f32 and bf16 storage. The rows of a
// large result are cut into parts whose number follows from the problem alone; each is a product on one
// thread, so that no bit depends on the number of threads.

#include "kernels/core/onednn.h"

#include <algorithm>
#include <exception>
#include <map>
#include <memory>
#include <tuple>

#include "kernels/core/parallel.h"
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
  std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t, DType, Product, GradMode, std::int64_t>,
           std::unique_ptr<Plan>>
      by_problem;
};

constexpr std::int64_t kPartWork = 1 << 22;  // multiply-adds that are worth a thread
constexpr std::int64_t kMaxParts = 32;

/// How the rows of a result are cut: part i is [first(i), first(i + 1)).
struct Split {
  std::int64_t rows, parts;

  Split(const LinearParams& p, Product product)
      : rows(product == Product::weight ? p.k : p.n),
        parts(std::clamp<std::int64_t>(p.n * p.c * p.k / kPartWork, 1, std::min(rows, kMaxParts))) {}
  std::int64_t first(std::int64_t part) const { return rows * part / parts; }
  std::int64_t largest() const { return (rows + parts - 1) / parts; }
};

/// The product that gives `rows` rows of the result.
std::unique_ptr<Plan> make_plan(const OneDnn& onednn, const LinearParams& p, Product product, GradMode mode,
                                std::int64_t rows) {
  const memory::data_type type = onednn_type(p.dtype);
  // A matrix of `count` rows; or of that many columns of one that is stored transposed.
  const auto matrix = [&](std::int64_t count, std::int64_t columns, std::int64_t stored_columns = 0) {
    return memory::desc({count, columns}, type,
                        stored_columns != 0 ? memory::dims{1, stored_columns} : memory::dims{columns, 1});
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
    plan->a = matrix(rows, p.c);
    plan->b = matrix(p.c, p.k, p.c);
    plan->c = matrix(rows, p.k);
    plan->bias = memory::desc({1, p.k}, memory::data_type::f32, memory::dims{p.k, 1});
  } else if (product == Product::data) {
    plan->a = matrix(rows, p.k);
    plan->b = matrix(p.k, p.c);
    plan->c = matrix(rows, p.c);
  } else {
    plan->a = matrix(rows, p.n, p.k);
    plan->b = matrix(p.n, p.c);
    plan->c = matrix(rows, p.c);
  }
  const auto problem = product == Product::forward ? dnnl::matmul::desc(plan->a, plan->b, plan->bias, plan->c)
                                                   : dnnl::matmul::desc(plan->a, plan->b, plan->c);
  const dnnl::matmul::primitive_desc description(problem, attributes, onednn.engine);
  plan->scratchpad = description.scratchpad_desc();
  plan->primitive = dnnl::matmul(description);
  return plan;
}

const Plan& plan_for(Context& context, const LinearParams& p, Product product, GradMode mode,
                     std::int64_t rows) {
  std::unique_ptr<Plan>& plan =
      context.state<Plans>().by_problem[{p.n, p.c, p.k, p.dtype, product, mode, rows}];
  if (!plan) plan = make_plan(context.state<OneDnn>(), p, product, mode, rows);
  return *plan;
}

/// Bytes that one thread needs, for parts of either size.
std::size_t part_bytes(Context& context, const LinearParams& p, Product product, GradMode mode) {
  const SingleThread single;
  const Split split(p, product);
  std::size_t most = 0;
  for (const std::int64_t rows : {split.rows / split.parts, split.largest()})
    most = std::max(most,
                    WorkspaceCutter::padded(plan_for(context, p, product, mode, rows).scratchpad.get_size()));
  return most;
}

void run(Context& context, const LinearParams& params, Product product, GradMode mode, const void* a,
         const void* b, const void* bias, void* c, Workspace workspace) {
  if (params.n == 0 && product != Product::weight) return;
  OneDnn& onednn = context.state<OneDnn>();
  const Split split(params, product);
  const std::size_t bytes = part_bytes(context, params, product, mode), element = size_of(params.dtype);
  // From one row of the result to the next, in elements of a and of c.
  const std::int64_t a_step = product == Product::forward ? params.c
                              : product == Product::data  ? params.k
                                                          : 1,
                     c_step = product == Product::forward ? params.k : params.c;
  const auto run_part = [&](std::int64_t part) {
    const std::int64_t first = split.first(part);
    const Plan& plan = plan_for(context, params, product, mode, split.first(part + 1) - first);
    const auto at = [&](const void* data, std::int64_t step) {
      return static_cast<const std::byte*>(data) + static_cast<std::size_t>(first * step) * element;
    };
    std::byte* scratch =
        static_cast<std::byte*>(workspace.data) + static_cast<std::size_t>(omp_get_thread_num()) * bytes;
    std::unordered_map<int, memory> arguments{{DNNL_ARG_SRC, onednn.memory(plan.a, at(a, a_step))},
                                              {DNNL_ARG_WEIGHTS, onednn.memory(plan.b, b)},
                                              {DNNL_ARG_DST, onednn.memory(plan.c, at(c, c_step))},
                                              {DNNL_ARG_SCRATCHPAD, onednn.memory(plan.scratchpad, scratch)}};
    if (bias != nullptr) arguments.emplace(DNNL_ARG_BIAS, onednn.memory(plan.bias, bias));
    plan.primitive.execute(onednn.stream, arguments);
  };
  std::exception_ptr failure;  // none may leave a thread
  parallel_for(split.parts, kPartWork, [&](std::int64_t begin, std::int64_t end) {
    const SingleThread single;
    try {
      with_onednn_errors("linear", [&] {
        for (std::int64_t part = begin; part < end; ++part) run_part(part);
      });
    } catch (...) {
#pragma omp critical(zeroth_linear_split)
      failure = std::current_exception();
    }
  });
  if (failure) std::rethrow_exception(failure);
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
      most = std::max(most, part_bytes(context, params, product, mode));
    return static_cast<std::size_t>(omp_get_max_threads()) * most;
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
