#pragma once

#include <limits>
#include <span>

#include "kernels/core/flat_parameters.h"

namespace zeroth {

/// What bad_segment is where every gradient is finite.
inline constexpr std::int32_t kNoSegment = std::numeric_limits<std::int32_t>::max();

/// The squared L2 norm of all gradients of a network, and whether they are finite, in one pass over them:
///   sum_of_squares = sum of g^2;     bad_segment = the first segment that holds a NaN or an infinity, or
///   kNoSegment
/// Gradients lie as kernels/core/flat_parameters.h has it: those of a working segment in working_gradients.
/// The weights and rates there are not read. sum_of_squares: (1) f64, in which no sum of f32 squares
/// overflows, and not finite where a gradient is not; bad_segment: (1) i32. Squares and sums in f64, in an
/// order that depends on the size alone.
struct GradientNormRow : Row {
  bool (*supports)(const FlatParams&);
  std::size_t (*workspace)(Context&, const FlatParams&);
  void (*forward)(Context&, const FlatParams&, const FlatParameters&, TensorView sum_of_squares,
                  TensorView bad_segment, Workspace);
};

/// Every implementation, in order of preference.
std::span<const GradientNormRow> gradient_norm_rows();

namespace reference {
extern const GradientNormRow gradient_norm_row;
}
namespace cpu {
extern const GradientNormRow gradient_norm_row;
}
namespace simt_native {
extern const GradientNormRow gradient_norm_row;
}
namespace cuda_native {
extern const GradientNormRow gradient_norm_row;
}

std::size_t gradient_norm_workspace(Context& context, const FlatParams& params);

void gradient_norm_forward(Context& context, const FlatParams& params, const FlatParameters& parameters,
                           TensorView sum_of_squares, TensorView bad_segment, Workspace workspace);

}  // namespace zeroth
