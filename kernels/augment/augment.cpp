#include "kernels/augment/augment.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "kernels/core/profile_range.h"

namespace zeroth {

namespace {
/// Keeps offsets inside a picture, and the flat index of any of its elements, within 31 bits.
constexpr std::int64_t kMaxPictureElements = std::int64_t{1} << 30;
constexpr std::int64_t kMaxMove = 32767;
}  // namespace

const char* name_of(Flip flip) {
  static constexpr const char* kNames[] = {"no", "random", "alternating", "constant"};
  return kNames[static_cast<int>(flip)];
}

std::string AugmentParams::to_string() const {
  const Augmentation& a = augmentation;
  return fmt::format("{} of {} pictures of {} x {} x {} into {}{}, padding {}{}{}", n, pictures, h, w, c,
                     name_of(dtype), a.flip == Flip::none ? "" : fmt::format(", {} flip", name_of(a.flip)),
                     a.crop_padding, a.reflect ? " reflected" : "",
                     a.cutout == 0 ? "" : fmt::format(", cutout {}", a.cutout));
}

std::span<const AugmentRow> augment_rows() {
  static const AugmentRow rows[] = {cuda_native::augment_row, simt_native::augment_row, cpu::augment_row,
                                    reference::augment_row};
  return rows;
}

void augment_forward(Context& context, const AugmentParams& params, ConstTensorView pictures,
                     ConstTensorView all_labels, ConstTensorView order, ConstTensorView batch, TensorView x,
                     TensorView labels) {
  if (params.c < 1 || params.c > 4)
    fail(ErrorKind::usage, fmt::format("augment: pictures have {} channels, expected 1 to 4", params.c));
  if (params.h < 1 || params.w < 1 || params.h > kMaxPictureElements / params.w / params.c)
    fail(ErrorKind::usage, fmt::format("augment: a picture of {} x {} x {} is empty or too large", params.h,
                                       params.w, params.c));
  const Augmentation& how = params.augmentation;
  if (how.crop_padding < 0 || how.crop_padding > kMaxMove)
    fail(ErrorKind::usage,
         fmt::format("augment: crop_padding is {}, expected 0 to {}", how.crop_padding, kMaxMove));
  if (how.cutout < 0 || how.cutout > kMaxMove)
    fail(ErrorKind::usage, fmt::format("augment: cutout is {}, expected 0 to {}", how.cutout, kMaxMove));
  const std::int64_t shift = std::max(std::abs(params.shift_y), std::abs(params.shift_x));
  if (shift > kMaxMove)
    fail(ErrorKind::usage, fmt::format("augment: a shift of {}, expected {} at most", shift, kMaxMove));
  if (how.reflect && how.crop_padding + shift >= std::min(params.h, params.w))
    fail(ErrorKind::usage,
         fmt::format("augment: {} x {} pictures cannot be moved by {}: they are reflected once", params.h,
                     params.w, how.crop_padding + shift));
  if (params.n > params.order)
    fail(ErrorKind::usage,
         fmt::format("augment: a batch of {} pictures from an order of {}", params.n, params.order));
  if (params.n > 0 && params.pictures < 1) fail(ErrorKind::usage, "augment: the data set has no pictures");
  check_operand("augment", "pictures", pictures, {params.pictures, params.h, params.w, params.c}, DType::u8);
  check_operand("augment", "all_labels", all_labels, {params.pictures}, DType::i32);
  check_operand("augment", "order", order, {params.order}, DType::i32);
  check_operand("augment", "batch", batch, {4}, DType::i32);
  check_operand("augment", "x", x, {params.n, params.h, params.w, params.c}, params.dtype);
  check_operand("augment", "labels", labels, {params.n}, DType::i32);
  const AugmentRow& row = select_row(
      context, "augment", augment_rows(),
      [&](const AugmentRow& candidate) { return candidate.supports(params); },
      [&] { return params.to_string(); });
  const ProfileRange range("augment_forward", row.name);
  row.forward(context, params, pictures, all_labels, order, batch, x, labels);
}

}  // namespace zeroth
