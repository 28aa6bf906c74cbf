#pragma once

#include "kernels/check/kernel_case.h"
#include "kernels/conv2d/conv2d.h"

namespace zeroth::check {

/// Roundings on the way of one value through the transforms of Winograd's F(4x4, 3x3): each is two
/// one-dimensional maps, of at most four additions and a product; two of them before the products, one after.
inline constexpr std::int64_t kWinogradTransformRoundings = 2 * 3 * 5;

/// What errors of Winograd's F(4x4, 3x3) are relative to: the algorithm on magnitudes, with the magnitudes of
/// its coefficients, in f64. `before`: the operands of conv2d's pass. Gives values for its third operand, in
/// which an accumulating mode finds its addend. 3x3, stride 1, padding 1; nothing for other problems.
Values winograd_magnitude(const Conv2dParams& params, Conv2dPass pass, const Values& before, GradMode mode);

}  // namespace zeroth::check
