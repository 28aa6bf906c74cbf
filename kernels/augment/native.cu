// Gathers, flips, crops and normalises a batch of u8 pictures.
// Bytes moved: one byte in and one stored element out for each element of x. A block takes one picture at a
// time and draws its flip and crop once (each thread for itself: ten rounds of integer arithmetic cost less
// than a barrier). Stores are what counts, so a thread makes a pack of 16 bytes of x; its bytes come from one
// or two neighbouring stretches of a picture that the L1 cache holds whole. Random numbers: philox.h.

#include "kernels/augment/augment.h"
#include "kernels/augment/draw.h"
#include "kernels/core/block.cuh"

namespace zeroth::ZEROTH_NATIVE {

namespace {

constexpr int kThreads = 256;

template <class T, int kChannels, int kPack>
__global__ void __launch_bounds__(kThreads)
    augment_kernel(const std::uint8_t* pictures, const std::int32_t* all_labels, const std::int32_t* order,
                   const std::int32_t* batch, T* x, std::int32_t* labels,
                   const __grid_constant__ AugmentParams params) {
  const int h = static_cast<int>(params.h), w = static_cast<int>(params.w);
  const int elements = h * w * kChannels, cutout = static_cast<int>(params.augmentation.cutout);
  const bool reflect = params.augmentation.reflect;
  for (std::int64_t n = blockIdx.x; n < params.n; n += gridDim.x) {
    const std::int64_t index = order[batch[3] + n];
    if (threadIdx.x == 0) labels[n] = all_labels[index];
    const AugmentDraw draw = draw_augmentation(batch, static_cast<std::uint64_t>(index), params);
    const int first_column = draw.flip ? w - 1 : 0, step = draw.flip ? -1 : 1;
    const std::uint8_t* picture = pictures + index * elements;
    for (int i = static_cast<int>(threadIdx.x) * kPack; i < elements; i += kThreads * kPack) {
      int pixel = i / kChannels, channel = i - pixel * kChannels;
      int row = pixel / w, column = pixel - row * w;
      Pack<T, kPack> pack;
      for (int e = 0; e < kPack; ++e) {
        int from_row = row + draw.dy, flipped_column = column + draw.dx;
        if (reflect) {
          from_row = reflected(from_row, h);
          flipped_column = reflected(flipped_column, w);
        }
        const int from_column = first_column + step * flipped_column;
        const bool inside = static_cast<unsigned>(from_row) < static_cast<unsigned>(h) &&
                            static_cast<unsigned>(from_column) < static_cast<unsigned>(w);
        const int byte = inside ? picture[(from_row * w + from_column) * kChannels + channel] : 0;
        const float value =
            (static_cast<float>(byte) / 255.0f - params.mean[channel]) * params.inverse_std[channel];
        pack.value[e] = from_compute<T>(is_cut_out(draw, cutout, row, column) ? 0.0f : value);
        if (++channel == kChannels) {
          channel = 0;
          if (++column == w) {
            column = 0;
            ++row;
          }
        }
      }
      store_pack(x + n * elements + i, pack);
    }
  }
}

template <class T, int kChannels>
void run(Context& context, const AugmentParams& params, ConstTensorView pictures, ConstTensorView all_labels,
         ConstTensorView order, ConstTensorView batch, TensorView x, TensorView labels) {
  // Packs are possible only where every picture of x starts on 16 bytes.
  const bool whole_packs = params.h * params.w * kChannels % kPackSize<T> == 0;
  launch(whole_packs ? augment_kernel<T, kChannels, kPackSize<T>> : augment_kernel<T, kChannels, 1>,
         dim3(blocks_for(params.n, 1)), dim3(kThreads), 0, context.stream(), pictures.as<std::uint8_t>(),
         all_labels.as<std::int32_t>(), order.as<std::int32_t>(), batch.as<std::int32_t>(), x.as<T>(),
         labels.as<std::int32_t>(), params);
}

bool supports(const AugmentParams& params) {
  return params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16;
}

void forward(Context& context, const AugmentParams& params, ConstTensorView pictures,
             ConstTensorView all_labels, ConstTensorView order, ConstTensorView batch, TensorView x,
             TensorView labels) {
  if (params.n == 0) return;
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    const auto chosen = params.c == 1   ? run<T, 1>
                        : params.c == 2 ? run<T, 2>
                        : params.c == 3 ? run<T, 3>
                                        : run<T, 4>;
    chosen(context, params, pictures, all_labels, order, batch, x, labels);
  });
}

}  // namespace

const AugmentRow augment_row{{"native", kNativeDevice, true}, supports, forward};

}  // namespace zeroth::ZEROTH_NATIVE
