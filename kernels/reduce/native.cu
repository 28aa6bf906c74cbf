// Reduces a tensor to one number: sum, sum of squares, largest magnitude, count of infinities and NaNs.
// Bytes moved: the tensor once. Two stages in a fixed order, without atomics: the grid depends on the size
// alone, every block leaves one total in the workspace, and one block joins those. A thread has four 16-byte
// loads in flight; their elements are summed in f32 and the sums in f64, so that accuracy does not fall with
// the size of the tensor. The largest magnitude is an integer maximum of the bits of |x|, where NaN lies
// above infinity. Harris, "Optimizing parallel reduction in CUDA" (2007), for the two stages.

#include <type_traits>

#include "kernels/core/block.cuh"
#include "kernels/reduce/reduce.h"

namespace zeroth::ZEROTH_NATIVE {

namespace {

constexpr int kThreads = 256;
constexpr int kUnroll = 4;
constexpr std::int64_t kMaxBlocks = 1024;

struct Sum {
  using Short = float;
  using Total = double;
  __device__ static float map(float x) { return x; }
};
struct SumOfSquares {
  using Short = float;
  using Total = double;
  __device__ static float map(float x) { return x * x; }
};
struct MaxAbs {
  using Short = unsigned;
  using Total = unsigned;
  __device__ static unsigned map(float x) { return __float_as_uint(x) & 0x7fffffffu; }
};
struct CountNonfinite {
  using Short = unsigned;
  using Total = unsigned long long;
  __device__ static unsigned map(float x) {
    return (__float_as_uint(x) & 0x7f800000u) == 0x7f800000u ? 1u : 0u;
  }
};

template <class Op, class Value>
__device__ inline Value join(Value a, Value b) {
  if constexpr (std::is_same_v<Op, MaxAbs>) return a < b ? b : a;
  return a + b;
}

/// The block's total, in thread 0. All threads must call it.
template <class Op>
__device__ inline typename Op::Total block_total(typename Op::Total value) {
  ZEROTH_SHARED(typename Op::Total, slots, [kThreads / kWarpSize]);
  for (int distance = kWarpSize / 2; distance > 0; distance /= 2)
    value = join<Op>(value, __shfl_xor_sync(0xffffffffu, value, distance));
  if (threadIdx.x % kWarpSize == 0) slots[threadIdx.x / kWarpSize] = value;
  __syncthreads();
  value = slots[0];
  for (int warp = 1; warp < kThreads / kWarpSize; ++warp) value = join<Op>(value, slots[warp]);
  return value;
}

template <class Op, class T>
__global__ void __launch_bounds__(kThreads)
    block_totals_kernel(const T* x, std::int64_t elements, typename Op::Total* totals) {
  constexpr int kPack = kPackSize<T>;
  const std::int64_t thread = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const std::int64_t threads = std::int64_t{gridDim.x} * kThreads;
  const std::int64_t packs = elements / kPack;
  typename Op::Total total{};
  for (std::int64_t first = thread; first < packs; first += kUnroll * threads) {
    Pack<T, kPack> loaded[kUnroll];
    for (int u = 0; u < kUnroll; ++u) {
      const std::int64_t pack = first + u * threads;
      loaded[u] = pack < packs ? load_pack<kPack>(x + pack * kPack) : Pack<T, kPack>{};  // zeros add nothing
    }
    typename Op::Short part{};
    for (int u = 0; u < kUnroll; ++u)
      for (int e = 0; e < kPack; ++e) part = join<Op>(part, Op::map(to_compute(loaded[u].value[e])));
    total = join<Op>(total, static_cast<typename Op::Total>(part));
  }
  if (const std::int64_t i = packs * kPack + thread; i < elements)  // fewer than a pack: block 0 has them all
    total = join<Op>(total, static_cast<typename Op::Total>(Op::map(to_compute(x[i]))));
  total = block_total<Op>(total);
  if (threadIdx.x == 0) totals[blockIdx.x] = total;
}

template <class Op>
__global__ void __launch_bounds__(kThreads)
    join_totals_kernel(const typename Op::Total* totals, int count, float* result) {
  typename Op::Total total{};
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads) total = join<Op>(total, totals[i]);
  total = block_total<Op>(total);
  if (threadIdx.x != 0) return;
  if constexpr (std::is_same_v<Op, MaxAbs>)
    *result = __uint_as_float(total);
  else
    *result = static_cast<float>(total);
}

unsigned blocks(const ReduceParams& params) {
  const auto pack = static_cast<std::int64_t>(16 / size_of(params.dtype));
  return blocks_for(params.elements / pack / kUnroll, kThreads, kMaxBlocks);
}

bool supports(const ReduceParams& params) {
  return params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16;
}

std::size_t workspace(Context&, const ReduceParams& params) {
  return blocks(params) * sizeof(double);
}

template <class Op>
void run(Context& context, const ReduceParams& params, ConstTensorView x, float* result,
         void* workspace_data) {
  static_assert(sizeof(typename Op::Total) <= sizeof(double));
  auto* totals = static_cast<typename Op::Total*>(workspace_data);
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    launch(block_totals_kernel<Op, T>, dim3(blocks(params)), dim3(kThreads), 0, context.stream(), x.as<T>(),
           params.elements, totals);
  });
  launch(join_totals_kernel<Op>, dim3(1), dim3(kThreads), 0, context.stream(), totals, blocks(params),
         result);
}

void forward(Context& context, const ReduceParams& params, ConstTensorView x, TensorView result,
             Workspace workspace) {
  const auto chosen = params.reduction == Reduction::sum              ? run<Sum>
                      : params.reduction == Reduction::sum_of_squares ? run<SumOfSquares>
                      : params.reduction == Reduction::max_abs        ? run<MaxAbs>
                                                                      : run<CountNonfinite>;
  chosen(context, params, x, result.as<float>(), workspace.data);
}

}  // namespace

const ReduceRow reduce_row{{"native", kNativeDevice, true}, supports, workspace, forward};

}  // namespace zeroth::ZEROTH_NATIVE
