#include <algorithm>
#include <vector>

#include "kernels/augment/augment.h"
#include "kernels/augment/draw.h"
#include "kernels/core/parallel.h"

namespace zeroth::cpu {

namespace {

/// The normalised value of every byte in every channel: one load a pixel instead of arithmetic, and the
/// rounding to T is done 256 times instead of once a pixel.
template <class T, int kChannels>
struct Table {
  T value[kChannels][256];

  explicit Table(const AugmentParams& params) {
    for (int channel = 0; channel < kChannels; ++channel)
      for (int byte = 0; byte < 256; ++byte)
        value[channel][byte] = from_compute<T>((static_cast<float>(byte) / 255.0f - params.mean[channel]) *
                                               params.inverse_std[channel]);
  }
};

/// Writes `count` pixels; the source pixel moves by kStep (1, -1 when flipped, 0 for one repeated pixel).
template <int kStep, class T, int kChannels>
T* write_pixels(T* to, const std::uint8_t* from, std::int64_t count, const Table<T, kChannels>& table) {
  for (std::int64_t i = 0; i < count; ++i) {
    for (int channel = 0; channel < kChannels; ++channel) to[channel] = table.value[channel][from[channel]];
    to += kChannels;
    from += kStep * kChannels;
  }
  return to;
}

/// `count` pixels of a row of the picture, or of the picture mirrored, from column `first` of it on, to the
/// right or to the left.
template <class T, int kChannels>
T* write_columns(T* to, const std::uint8_t* row, std::int64_t w, bool flip, std::int64_t first,
                 bool rightward, std::int64_t count, const Table<T, kChannels>& table) {
  if (count == 0) return to;
  const std::uint8_t* from = row + (flip ? w - 1 - first : first) * kChannels;
  return rightward != flip ? write_pixels<1>(to, from, count, table)
                           : write_pixels<-1>(to, from, count, table);
}

/// One picture. Each row is a stretch of padding, a stretch of the source row and padding again, so that the
/// loops over pixels have no conditions.
template <class T, int kChannels>
void write_picture(T* to, const std::uint8_t* picture, const AugmentParams& params, AugmentDraw draw,
                   const Table<T, kChannels>& table) {
  static constexpr std::uint8_t kBlack[kChannels] = {};
  const std::int64_t h = params.h, w = params.w;
  const bool reflect = params.augmentation.reflect;
  // Columns [left, right) of the output come from the picture, from column left + dx of the flipped one on.
  const std::int64_t left = std::clamp<std::int64_t>(-draw.dx, 0, w);
  const std::int64_t right = std::clamp<std::int64_t>(w - draw.dx, left, w);
  for (std::int64_t row = 0; row < h; ++row) {
    const std::int64_t from_row = reflect ? reflected(row + draw.dy, h) : row + draw.dy;
    if (from_row < 0 || from_row >= h || left == right) {
      to = write_pixels<0>(to, kBlack, w, table);
      continue;
    }
    const std::uint8_t* from = picture + from_row * w * kChannels;
    to = reflect ? write_columns(to, from, w, draw.flip, left, false, left, table)
                 : write_pixels<0>(to, kBlack, left, table);
    to = write_columns(to, from, w, draw.flip, left + draw.dx, true, right - left, table);
    to = reflect ? write_columns(to, from, w, draw.flip, w - 2, false, w - right, table)
                 : write_pixels<0>(to, kBlack, w - right, table);
  }
}

template <class T, int kChannels>
void cut_out(T* x, const AugmentParams& params, AugmentDraw draw) {
  const std::int64_t cutout = params.augmentation.cutout;
  const std::int64_t left = std::max(draw.left, 0), right = std::min(draw.left + cutout, params.w);
  const std::int64_t bottom = std::min(draw.top + cutout, params.h);
  for (std::int64_t row = std::max(draw.top, 0); row < bottom; ++row)
    std::fill(x + (row * params.w + left) * kChannels,
              x + (row * params.w + std::max(left, right)) * kChannels, from_compute<T>(0.0f));
}

template <class T, int kChannels>
void run(const AugmentParams& params, const std::uint8_t* pictures, const std::int32_t* all_labels,
         const std::int32_t* order, const std::int32_t* batch, T* x, std::int32_t* labels) {
  const Table<T, kChannels> table(params);
  const std::int64_t elements = params.h * params.w * kChannels;
  parallel_for(params.n, elements, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      const std::int64_t index = order[batch[3] + n];
      labels[n] = all_labels[index];
      const AugmentDraw draw = draw_augmentation(batch, static_cast<std::uint64_t>(index), params);
      write_picture(x + n * elements, pictures + index * elements, params, draw, table);
      if (params.augmentation.cutout > 0) cut_out<T, kChannels>(x + n * elements, params, draw);
    }
  });
}

bool supports(const AugmentParams& params) {
  return params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16;
}

void forward(Context&, const AugmentParams& params, ConstTensorView pictures, ConstTensorView all_labels,
             ConstTensorView order, ConstTensorView batch, TensorView x, TensorView labels) {
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    const auto chosen = params.c == 1   ? run<T, 1>
                        : params.c == 2 ? run<T, 2>
                        : params.c == 3 ? run<T, 3>
                                        : run<T, 4>;
    chosen(params, pictures.as<std::uint8_t>(), all_labels.as<std::int32_t>(), order.as<std::int32_t>(),
           batch.as<std::int32_t>(), x.as<T>(), labels.as<std::int32_t>());
  });
}

}  // namespace

const AugmentRow augment_row{{"cpu", DeviceKind::cpu, true}, supports, forward};

}  // namespace zeroth::cpu
