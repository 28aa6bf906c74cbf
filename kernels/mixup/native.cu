// Mixes the rows of a batch in pairs, in place.
// Bytes moved: x once in and once out. A thread takes 16 bytes of both rows of a pair and writes both, so
// that nothing is read after it was overwritten and no second buffer is needed. Formula: mixup.h.

#include "kernels/core/block.cuh"
#include "kernels/mixup/mixup.h"

namespace zeroth::ZEROTH_NATIVE {

namespace {

constexpr int kThreads = 256;

// Left alone, ptxas keeps to 32 registers, and spills.
template <class T, int kPack>
__global__ void __launch_bounds__(kThreads, 4)
    mixup_kernel(T* x, const std::int32_t* labels, const float* share_at, std::int32_t* other_labels,
                 std::int64_t n, std::int64_t row_elements) {
  const float share = *share_at, rest = 1.0f - share;
  const std::int64_t thread = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const std::int64_t threads = std::int64_t{gridDim.x} * blockDim.x;
  const std::int64_t packs = row_elements / kPack;
  for (std::int64_t p = thread; p < n / 2 * packs; p += threads) {
    const std::int64_t row = p / packs, at = (p - row * packs) * kPack;
    T *one = x + row * row_elements + at, *other = x + (n - 1 - row) * row_elements + at;
    auto a = load_pack<kPack>(one), b = load_pack<kPack>(other);
    for (int i = 0; i < kPack; ++i) {
      const float from_one = to_compute(a.value[i]), from_other = to_compute(b.value[i]);
      a.value[i] = from_compute<T>(share * from_one + rest * from_other);
      b.value[i] = from_compute<T>(share * from_other + rest * from_one);
    }
    store_pack(one, a);
    store_pack(other, b);
  }
  for (std::int64_t i = thread; i < n; i += threads) other_labels[i] = labels[n - 1 - i];
}

template <class T, int kPack>
void run(Context& context, const MixupParams& params, TensorView x, ConstTensorView labels,
         ConstTensorView share, TensorView other_labels) {
  const std::int64_t packs = params.n / 2 * (params.row_elements / kPack);
  launch(mixup_kernel<T, kPack>, dim3(blocks_for(packs > params.n ? packs : params.n, kThreads)),
         dim3(kThreads), 0, context.stream(), x.as<T>(), labels.as<std::int32_t>(), share.as<float>(),
         other_labels.as<std::int32_t>(), params.n, params.row_elements);
}

bool supports(const MixupParams& params) {
  return params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16;
}

void forward(Context& context, const MixupParams& params, TensorView x, ConstTensorView labels,
             ConstTensorView share, TensorView other_labels) {
  if (params.n == 0) return;
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    // Packs are possible only where every row starts on 16 bytes.
    const bool whole_packs = params.row_elements % kPackSize<T> == 0;
    (whole_packs ? run<T, kPackSize<T>> : run<T, 1>)(context, params, x, labels, share, other_labels);
  });
}

}  // namespace

const MixupRow mixup_row{{"native", kNativeDevice, true}, supports, forward};

}  // namespace zeroth::ZEROTH_NATIVE
