#include "kernels/augment/augment.h"
#include "kernels/augment/draw.h"

namespace zeroth::reference {

namespace {

bool supports(const AugmentParams& params) {
  return params.dtype == DType::f64 || params.dtype == DType::f32;
}

void forward(Context&, const AugmentParams& params, ConstTensorView pictures_view, ConstTensorView all_labels,
             ConstTensorView order, ConstTensorView batch, TensorView x_view, TensorView labels) {
  dispatch_reference(params.dtype, [&]<class T>(TypeTag<T>) {
    const std::int64_t h = params.h, w = params.w, c = params.c;
    T* x = x_view.as<T>();
    for (std::int64_t n = 0; n < params.n; ++n) {
      const std::int64_t index = order.as<std::int32_t>()[batch.as<std::int32_t>()[3] + n];
      labels.as<std::int32_t>()[n] = all_labels.as<std::int32_t>()[index];
      const std::uint8_t* picture = pictures_view.as<std::uint8_t>() + index * h * w * c;
      const AugmentDraw draw =
          draw_augmentation(batch.as<std::int32_t>(), static_cast<std::uint64_t>(index), params);
      for (std::int64_t row = 0; row < h; ++row)
        for (std::int64_t column = 0; column < w; ++column)
          for (std::int64_t channel = 0; channel < c; ++channel) {
            std::int64_t from_row = row + draw.dy, flipped_column = column + draw.dx;
            if (params.augmentation.reflect) {
              from_row = reflected(from_row, h);
              flipped_column = reflected(flipped_column, w);
            }
            const bool inside = from_row >= 0 && from_row < h && flipped_column >= 0 && flipped_column < w;
            const std::int64_t from_column = draw.flip ? w - 1 - flipped_column : flipped_column;
            const std::uint8_t byte =
                inside ? picture[(from_row * w + from_column) * c + channel] : std::uint8_t{0};
            x[((n * h + row) * w + column) * c + channel] =
                is_cut_out(draw, params.augmentation.cutout, row, column)
                    ? T{0}
                    : (static_cast<T>(byte) / T{255} - static_cast<T>(params.mean[channel])) *
                          static_cast<T>(params.inverse_std[channel]);
          }
    }
  });
}

}  // namespace

const AugmentRow augment_row{{"reference", DeviceKind::cpu, true}, supports, forward};

}  // namespace zeroth::reference
