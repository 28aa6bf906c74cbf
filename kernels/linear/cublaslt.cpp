// Fully connected layer through cuBLASLt: three matrix products, f32, bf16 or f16 storage, sums in f32. f32
// stays f32 unless the Context allows TF32. A plan, which is cuBLASLt's first choice for a problem, is kept
// in the Context.
//
// cuBLASLt's matrices are stored by columns, so a row-major (rows, columns) is its transpose, and every
// product is asked for transposed. It adds a bias of the results' type only: f32's is added by its epilogue;
// for 16-bit storage the product stays f32 until the hand-written kernel adds the bias and rounds once. The
// bias's gradient, which it would round, is the hand-written kernel's, too.

#include <cublasLt.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <tuple>

#include "kernels/core/cuda_libraries.h"
#include "kernels/core/workspace_cutter.h"
#include "kernels/linear/linear.h"
#include "kernels/linear/native.h"

namespace zeroth::cublaslt {

namespace {

struct Functions {
  SharedLibrary library{kCublasLt};
  ZEROTH_LIBRARY_FUNCTION(library, cublasLtCreate);
  ZEROTH_LIBRARY_FUNCTION(library, cublasLtDestroy);
  ZEROTH_LIBRARY_FUNCTION(library, cublasLtGetStatusString);
  ZEROTH_LIBRARY_FUNCTION(library, cublasLtMatmul);
  ZEROTH_LIBRARY_FUNCTION(library, cublasLtMatmulAlgoGetHeuristic);
  ZEROTH_LIBRARY_FUNCTION(library, cublasLtMatmulDescCreate);
  ZEROTH_LIBRARY_FUNCTION(library, cublasLtMatmulDescDestroy);
  ZEROTH_LIBRARY_FUNCTION(library, cublasLtMatmulDescSetAttribute);
  ZEROTH_LIBRARY_FUNCTION(library, cublasLtMatmulPreferenceCreate);
  ZEROTH_LIBRARY_FUNCTION(library, cublasLtMatmulPreferenceDestroy);
  ZEROTH_LIBRARY_FUNCTION(library, cublasLtMatmulPreferenceSetAttribute);
  ZEROTH_LIBRARY_FUNCTION(library, cublasLtMatrixLayoutCreate);
  ZEROTH_LIBRARY_FUNCTION(library, cublasLtMatrixLayoutDestroy);
};

const Functions& functions() {
  static const Functions functions;  // tried again by the next caller when it throws
  return functions;
}

void check(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    fail(ErrorKind::runtime,
         fmt::format("cuBLASLt: {}: {}", what, functions().cublasLtGetStatusString(status)));
}

/// Owners of cuBLASLt's objects. Each is made by the library and freed by the member that `kDestroy` names.
template <class Object, auto kDestroy>
struct Destroy {
  using pointer = Object;
  void operator()(Object object) const { (functions().*kDestroy)(object); }
};
template <class Object, auto kDestroy>
using Owned = std::unique_ptr<Object, Destroy<Object, kDestroy>>;
using Handle = Owned<cublasLtHandle_t, &Functions::cublasLtDestroy>;
using Operation = Owned<cublasLtMatmulDesc_t, &Functions::cublasLtMatmulDescDestroy>;
using Layout = Owned<cublasLtMatrixLayout_t, &Functions::cublasLtMatrixLayoutDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, &Functions::cublasLtMatmulPreferenceDestroy>;

struct Library {
  Library() {
    cublasLtHandle_t raw = nullptr;
    check(functions().cublasLtCreate(&raw), "cublasLtCreate");
    handle.reset(raw);
  }
  Handle handle;
};

constexpr std::size_t kMostWorkspace = std::size_t{32} << 20;

enum class Product { forward, data, weight };

/// A problem, and what runs it.
using Key = std::tuple<std::int64_t, std::int64_t, std::int64_t, DType, Product, GradMode, bool>;

struct Plan {
  Operation operation;
  Layout a, b, result;
  float beta = 0.0f;
  cublasLtMatmulAlgo_t algorithm{};
  std::size_t workspace = 0;      ///< of cuBLASLt
  std::size_t product_bytes = 0;  ///< of the product where it cannot go to its place at once
};

struct Plans {
  std::map<Key, Plan> by_problem;
};

cudaDataType_t data_type(DType dtype) {
  return dtype == DType::f32 ? CUDA_R_32F : dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_16F;
}

/// A row-major matrix of `rows` x `columns`, as the transpose that cuBLASLt sees.
Layout layout(cudaDataType_t type, std::int64_t rows, std::int64_t columns) {
  cublasLtMatrixLayout_t raw = nullptr;
  check(functions().cublasLtMatrixLayoutCreate(&raw, type, static_cast<std::uint64_t>(columns),
                                               static_cast<std::uint64_t>(rows), columns),
        "cublasLtMatrixLayoutCreate");
  return Layout(raw);
}

template <class Value>
void set(const Plan& plan, cublasLtMatmulDescAttributes_t attribute, const char* name, const Value& value) {
  check(functions().cublasLtMatmulDescSetAttribute(plan.operation.get(), attribute, &value, sizeof value),
        name);
}
#define ZEROTH_SET(plan, attribute, value) set(plan, attribute, #attribute, value)

Preference preference() {
  cublasLtMatmulPreference_t raw = nullptr;
  check(functions().cublasLtMatmulPreferenceCreate(&raw), "cublasLtMatmulPreferenceCreate");
  Preference result(raw);
  const auto want = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    check(functions().cublasLtMatmulPreferenceSetAttribute(raw, attribute, &value, sizeof value),
          "cublasLtMatmulPreferenceSetAttribute");
  };
  want(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{kMostWorkspace});
  // Parts of a sum meet in f32, and in a fixed order.
  want(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, std::uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
  for (const auto alignment :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
    want(alignment, static_cast<std::uint32_t>(kOperandAlignment));
  return result;
}

/// The product as cuBLASLt takes it: result^T = op(a^T) op(b^T).
Plan describe(const LinearParams& p, Product product, GradMode mode, bool tf32) {
  const cudaDataType_t type = data_type(p.dtype);
  Plan plan;
  cublasLtMatmulDesc_t raw = nullptr;
  check(functions().cublasLtMatmulDescCreate(
            &raw, p.dtype == DType::f32 && tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
            CUDA_R_32F),
        "cublasLtMatmulDescCreate");
  plan.operation.reset(raw);
  if (product == Product::forward) {  // y^T = w x^T
    const bool narrow = p.dtype != DType::f32;
    plan.a = layout(type, p.k, p.c);
    plan.b = layout(type, p.n, p.c);
    plan.result = layout(CUDA_R_32F, p.n, p.k);
    ZEROTH_SET(plan, CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
    if (narrow) {
      plan.product_bytes = static_cast<std::size_t>(p.n * p.k) * sizeof(float);
    } else {
      ZEROTH_SET(plan, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    }
  } else if (product == Product::data) {  // dx^T = w^T dy^T
    plan.a = layout(type, p.k, p.c);
    plan.b = layout(type, p.n, p.k);
    plan.result = layout(type, p.n, p.c);
  } else {  // dw^T = x^T dy
    plan.a = layout(type, p.n, p.c);
    plan.b = layout(type, p.n, p.k);
    plan.result = layout(type, p.k, p.c);
    ZEROTH_SET(plan, CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_T);
  }
  plan.beta = mode == GradMode::accumulate ? 1.0f : 0.0f;
  return plan;
}

const Plan& plan_for(Context& context, const LinearParams& p, Product product, GradMode mode) {
  const Key key{p.n, p.c, p.k, p.dtype, product, mode, context.tf32()};
  std::map<Key, Plan>& plans = context.state<Plans>().by_problem;
  if (const auto found = plans.find(key); found != plans.end()) return found->second;
  Plan plan = describe(p, product, mode, context.tf32());
  cublasLtMatmulHeuristicResult_t choice{};
  int count = 0;
  const cublasStatus_t status = functions().cublasLtMatmulAlgoGetHeuristic(
      context.state<Library>().handle.get(), plan.operation.get(), plan.a.get(), plan.b.get(),
      plan.result.get(), plan.result.get(), preference().get(), 1, &choice, &count);
  if (status != CUBLAS_STATUS_SUCCESS || count == 0)
    fail(ErrorKind::runtime,
         fmt::format("cuBLASLt: no algorithm for linear {}: {}; choose another row with --impl",
                     p.to_string(), functions().cublasLtGetStatusString(status)));
  plan.algorithm = choice.algo;
  plan.workspace = choice.workspaceSize;
  return plans.emplace(key, std::move(plan)).first->second;
}

void multiply(Context& context, const Plan& plan, const void* a, const void* b, void* result, Workspace own) {
  const float alpha = 1.0f;
  check(functions().cublasLtMatmul(context.state<Library>().handle.get(), plan.operation.get(), &alpha, a,
                                   plan.a.get(), b, plan.b.get(), &plan.beta, result, plan.result.get(),
                                   result, plan.result.get(), &plan.algorithm, own.data, own.bytes,
                                   static_cast<cudaStream_t>(context.stream().handle)),
        "cublasLtMatmul");
  if (context.stream().synchronous) context.synchronize();
}

bool supports(const LinearParams& params) {
  return params.n > 0 &&
         (params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16);
}

std::size_t workspace(Context& context, const LinearParams& params) {
  std::size_t most = 0;
  for (const auto& [product, mode] :
       {std::pair{Product::forward, GradMode::overwrite}, std::pair{Product::data, GradMode::overwrite},
        std::pair{Product::data, GradMode::accumulate}, std::pair{Product::weight, GradMode::overwrite},
        std::pair{Product::weight, GradMode::accumulate}}) {
    const Plan& plan = plan_for(context, params, product, mode);
    most =
        std::max(most, WorkspaceCutter::padded(plan.workspace) + WorkspaceCutter::padded(plan.product_bytes));
  }
  return most;
}

void forward(Context& context, const LinearParams& params, ConstTensorView x, ConstTensorView w,
             ConstTensorView bias, TensorView y, Workspace scratch) {
  const Plan& plan = plan_for(context, params, Product::forward, GradMode::overwrite);
  WorkspaceCutter cutter(scratch);
  const Workspace own{cutter.take(plan.workspace), plan.workspace};
  if (plan.product_bytes == 0) {
    ZEROTH_SET(plan, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias.data);
    multiply(context, plan, w.data, x.data, y.data, own);
  } else {
    auto* product = static_cast<float*>(cutter.take(plan.product_bytes));
    multiply(context, plan, w.data, x.data, product, own);
    cuda_native::linear_add_bias(context, params, product, bias, y);
  }
}

void backward_data(Context& context, const LinearParams& params, ConstTensorView dy, ConstTensorView w,
                   TensorView dx, GradMode mode, Workspace scratch) {
  const Plan& plan = plan_for(context, params, Product::data, mode);
  multiply(context, plan, w.data, dy.data, dx.data, {scratch.data, plan.workspace});
}

void backward_weight(Context& context, const LinearParams& params, ConstTensorView x, ConstTensorView dy,
                     TensorView dw, TensorView dbias, GradMode mode, Workspace scratch) {
  const Plan& plan = plan_for(context, params, Product::weight, mode);
  multiply(context, plan, x.data, dy.data, dw.data, {scratch.data, plan.workspace});
  cuda_native::linear_bias_gradient(context, params, dy, dbias, mode);
}

}  // namespace

const LinearRow linear_row{
    {"cublaslt", DeviceKind::cuda, true}, supports, workspace, forward, backward_data, backward_weight};

}  // namespace zeroth::cublaslt
