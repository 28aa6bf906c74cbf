// Residual join: y = relu(F + shortcut), relu(alpha F + shortcut) or alpha relu(F) + shortcut, forward and
// backward.
// Bytes moved: forward reads f and shortcut and writes y. Backward reads dy, y (plain, post) and f (post,
// authors) once, and writes df and dshortcut once, reading first those it accumulates to: both gradients and
// the sum for dalpha come from the same pass. Each thread moves 16 bytes at a time. dalpha is summed in two
// stages without atomics, cut by size alone: short f32 runs, then f64 over threads and blocks. alpha stays on
// the device, so a captured step needs no copy of it.
// He et al., "Deep residual learning" (2015); Bachlechner et al., "ReZero is all you need" (2020).

#include "kernels/core/block.cuh"
#include "kernels/residual/residual.h"

namespace zeroth::ZEROTH_NATIVE {

namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kMaxBlocks = 1024;  // each leaves one partial sum of dalpha

__device__ inline float rectified(float x) {
  return x < 0.0f ? 0.0f : x;
}

template <ResidualForm kForm>
__device__ inline float joined(float alpha, float f, float shortcut) {
  if constexpr (kForm == ResidualForm::plain) return rectified(f + shortcut);
  if constexpr (kForm == ResidualForm::post) return rectified(alpha * f + shortcut);
  return alpha * rectified(f) + shortcut;
}

template <ResidualForm kForm, class T>
__global__ void __launch_bounds__(kThreads)
    residual_forward_kernel(const T* f, const T* shortcut, const float* alpha_pointer, T* y,
                            std::int64_t elements) {
  constexpr int kPack = kPackSize<T>;
  const float alpha = kForm == ResidualForm::plain ? 1.0f : *alpha_pointer;
  const std::int64_t thread = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const std::int64_t threads = std::int64_t{gridDim.x} * kThreads;
  const std::int64_t packs = elements / kPack;
  for (std::int64_t p = thread; p < packs; p += threads) {
    const auto f_pack = load_pack<kPack>(f + p * kPack), s_pack = load_pack<kPack>(shortcut + p * kPack);
    Pack<T, kPack> y_pack;
    for (int e = 0; e < kPack; ++e)
      y_pack.value[e] =
          from_compute<T>(joined<kForm>(alpha, to_compute(f_pack.value[e]), to_compute(s_pack.value[e])));
    store_pack(y + p * kPack, y_pack);
  }
  for (std::int64_t i = packs * kPack + thread; i < elements; i += threads)
    y[i] = from_compute<T>(joined<kForm>(alpha, to_compute(f[i]), to_compute(shortcut[i])));
}

template <class T>
struct BackwardOperands {
  const T *dy, *f, *y;
  T *df, *dshortcut;  // null: skipped
  bool df_accumulates, dshortcut_accumulates;
  const float* alpha;
  double* sums;  // one a block; null: dalpha is skipped
  std::int64_t elements;
};

template <class T, int kPack>
__device__ inline void write_gradient(T* to, bool accumulates, const Pack<float, kPack>& gradient) {
  if (to == nullptr) return;
  Pack<T, kPack> result{};
  if (accumulates) result = load_pack<kPack>(to);
  for (T& value : result.value) {
    const float added = gradient.value[&value - result.value];
    value = from_compute<T>(accumulates ? to_compute(value) + added : added);
  }
  store_pack(to, result);
}

/// Elements [at, at + kPack): writes both gradients, returns what they add to dalpha.
template <ResidualForm kForm, int kPack, class T>
__device__ inline float backward_pack(const BackwardOperands<T>& o, float alpha, std::int64_t at) {
  const auto dy = load_pack<kPack>(o.dy + at);
  Pack<T, kPack> f{}, y{};
  if constexpr (kForm != ResidualForm::plain) f = load_pack<kPack>(o.f + at);
  if constexpr (kForm != ResidualForm::authors) y = load_pack<kPack>(o.y + at);
  Pack<float, kPack> branch, joined_gradient;
  float sum = 0.0f;
  for (int e = 0; e < kPack; ++e) {
    const float gradient = to_compute(dy.value[e]), f_value = to_compute(f.value[e]);
    const bool authors = kForm == ResidualForm::authors;
    const float d = authors || to_compute(y.value[e]) > 0.0f ? gradient : 0.0f;
    const float b = authors && !(f_value > 0.0f) ? 0.0f : d;
    if constexpr (kForm != ResidualForm::plain) sum += b * f_value;
    branch.value[e] = kForm == ResidualForm::plain ? b : alpha * b;
    joined_gradient.value[e] = d;
  }
  write_gradient(o.df == nullptr ? nullptr : o.df + at, o.df_accumulates, branch);
  write_gradient(o.dshortcut == nullptr ? nullptr : o.dshortcut + at, o.dshortcut_accumulates,
                 joined_gradient);
  return sum;
}

template <ResidualForm kForm, class T>
__global__ void __launch_bounds__(kThreads) residual_backward_kernel(BackwardOperands<T> o) {
  ZEROTH_SHARED(double, slots, [kWarpSize]);
  constexpr int kPack = kPackSize<T>;
  const float alpha = kForm == ResidualForm::plain ? 1.0f : *o.alpha;
  const std::int64_t thread = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const std::int64_t threads = std::int64_t{gridDim.x} * kThreads;
  const std::int64_t packs = o.elements / kPack;
  double sum = 0.0;
  for (std::int64_t p = thread; p < packs; p += threads)
    sum += static_cast<double>(backward_pack<kForm, kPack>(o, alpha, p * kPack));
  for (std::int64_t i = packs * kPack + thread; i < o.elements; i += threads)
    sum += static_cast<double>(backward_pack<kForm, 1>(o, alpha, i));
  if (o.sums == nullptr) return;
  sum = block_sum(sum, slots);
  if (threadIdx.x == 0) o.sums[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kThreads)
    finish_alpha_kernel(const double* sums, int blocks, float* dalpha, bool accumulate) {
  ZEROTH_SHARED(double, slots, [kWarpSize]);
  double sum = 0.0;
  for (int block = static_cast<int>(threadIdx.x); block < blocks; block += kThreads) sum += sums[block];
  sum = block_sum(sum, slots);
  if (threadIdx.x == 0) *dalpha = static_cast<float>((accumulate ? static_cast<double>(*dalpha) : 0.0) + sum);
}

bool supports(const ResidualParams& params) {
  return params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16;
}

unsigned blocks(const ResidualParams& params) {
  return blocks_for(params.elements / static_cast<std::int64_t>(16 / size_of(params.dtype)) + 1, kThreads,
                    kMaxBlocks);
}

std::size_t workspace(Context&, const ResidualParams& params) {
  return params.form == ResidualForm::plain ? 0 : blocks(params) * sizeof(double);
}

void forward(Context& context, const ResidualParams& params, ConstTensorView f, ConstTensorView shortcut,
             ConstTensorView alpha, TensorView y) {
  if (params.elements == 0) return;
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    const auto kernel = params.form == ResidualForm::plain ? residual_forward_kernel<ResidualForm::plain, T>
                        : params.form == ResidualForm::post
                            ? residual_forward_kernel<ResidualForm::post, T>
                            : residual_forward_kernel<ResidualForm::authors, T>;
    launch(kernel, dim3(blocks_for(params.elements / kPackSize<T> + 1, kThreads)), dim3(kThreads), 0,
           context.stream(), f.as<T>(), shortcut.as<T>(), alpha.as<float>(), y.as<T>(), params.elements);
  });
}

void backward(Context& context, const ResidualParams& params, ConstTensorView dy, ConstTensorView f,
              ConstTensorView y, ConstTensorView alpha, TensorView df, GradMode df_mode, TensorView dshortcut,
              GradMode dshortcut_mode, TensorView dalpha, GradMode dalpha_mode, Workspace scratch) {
  const bool alpha_wanted = dalpha_mode != GradMode::skip;
  auto* sums = alpha_wanted ? static_cast<double*>(scratch.data) : nullptr;
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    const BackwardOperands<T> operands{dy.as<T>(),
                                       f.as<T>(),
                                       y.as<T>(),
                                       df_mode == GradMode::skip ? nullptr : df.as<T>(),
                                       dshortcut_mode == GradMode::skip ? nullptr : dshortcut.as<T>(),
                                       df_mode == GradMode::accumulate,
                                       dshortcut_mode == GradMode::accumulate,
                                       alpha.as<float>(),
                                       sums,
                                       params.elements};
    const auto kernel = params.form == ResidualForm::plain ? residual_backward_kernel<ResidualForm::plain, T>
                        : params.form == ResidualForm::post
                            ? residual_backward_kernel<ResidualForm::post, T>
                            : residual_backward_kernel<ResidualForm::authors, T>;
    launch(kernel, dim3(blocks(params)), dim3(kThreads), 0, context.stream(), operands);
  });
  if (alpha_wanted)
    launch(finish_alpha_kernel, dim3(1), dim3(kThreads), 0, context.stream(), sums, blocks(params),
           dalpha.as<float>(), dalpha_mode == GradMode::accumulate);
}

}  // namespace

const ResidualRow residual_row{{"native", kNativeDevice, true}, supports, workspace, forward, backward};

}  // namespace zeroth::ZEROTH_NATIVE
