#pragma once

#include <span>

#include "kernels/core/operation_table.h"

namespace zeroth {

/// random: as a word decides, in every epoch anew. alternating: random in epoch 0, from then on mirrored
/// where it was not in the epoch before, so that two epochs see both sides of every picture (K. Jordan, "94 %
/// on CIFAR-10 in 3.29 seconds", 2024). always: for evaluation on both sides.
enum class Flip : std::uint8_t { none, random, alternating, always };
const char* name_of(Flip flip);

/// What is done to the pictures of a training.
struct Augmentation {
  Flip flip = Flip::random;
  std::int64_t crop_padding = 4;  ///< 0: no crop
  bool reflect = false;           ///< what lies outside is the picture mirrored at its edge, instead of black
  std::int64_t cutout = 0;        ///< side of the square that is blanked out; 0: none

  static Augmentation none() { return {Flip::none, 0, false, 0}; }
  bool operator==(const Augmentation&) const = default;
};

/// Gathers a batch from a resident data set, augments and normalises it, in one pass. The batch is a stretch
/// of an order of pictures that lies on the device, as what changes from step to step does while a captured
/// step does not. For row i with picture m = order[first + i], four Philox words u = philox(seed, epoch, m,
/// RandomUse::augment) decide:
///   flip:   mirrored left to right when the lowest bit of u[0] is set; alternating: when the lowest bit of
///   epoch plus that of epoch 0's u[0] is odd
///   crop:   moved by dy = u[1] below (2 padding + 1), dx = u[2] likewise, both minus padding plus shift;
///   what lies outside is a raw 0 value: (byte / 255 - mean[c]) * inverse_std[c]   (so padding is black
///   before normalisation), or with reflect pixel -j in place of j and 2 (H - 1) - j behind the last cutout:
///   x is 0, the mean colour, in a square whose pixel (cutout / 2, cutout / 2) is (H u[3] low, W u[3] high),
///   of the halves of u[3] as fractions; it may reach beyond the picture (DeVries and Taylor, 2017)
/// The flip comes first, then the crop: x[i, y, z, c] = value of pixel (y + dy, z + dx) of the flipped
/// picture; then the cutout. pictures: (M, H, W, C) u8; all_labels: (M) i32; order: (L) i32 in [0, M); batch:
/// (4) i32 {seed low, seed high, epoch, first} with first in [0, L - N]; x: (N, H, W, C) storage dtype (f64
/// in the reference); labels: (N) i32. mean and inverse_std hold up to 4 channels. All rows give the same
/// bits for the same dtype. Order and batch are trusted: a kernel cannot throw.
struct AugmentParams {
  std::int64_t pictures, order;  // M and L
  std::int64_t n, h, w, c;
  Augmentation augmentation;
  float mean[4] = {0, 0, 0, 0};
  float inverse_std[4] = {1, 1, 1, 1};
  DType dtype = DType::f32;
  std::int64_t shift_y = 0, shift_x = 0;  // the same for all pictures
  std::string to_string() const;
};

struct AugmentRow : Row {
  bool (*supports)(const AugmentParams&);
  void (*forward)(Context&, const AugmentParams&, ConstTensorView pictures, ConstTensorView all_labels,
                  ConstTensorView order, ConstTensorView batch, TensorView x, TensorView labels);
};

/// Every implementation, in order of preference.
std::span<const AugmentRow> augment_rows();

namespace reference {
extern const AugmentRow augment_row;
}
namespace cpu {
extern const AugmentRow augment_row;
}
namespace simt_native {
extern const AugmentRow augment_row;
}
namespace cuda_native {
extern const AugmentRow augment_row;
}

void augment_forward(Context& context, const AugmentParams& params, ConstTensorView pictures,
                     ConstTensorView all_labels, ConstTensorView order, ConstTensorView batch, TensorView x,
                     TensorView labels);

}  // namespace zeroth
