#pragma once

#include <cstdint>

#include "kernels/core/operation_table.h"

namespace zeroth {

/// Parameters lie in flat buffers; each starts on a multiple of this many elements (256 bytes of f32), and
/// what lies between two parameters is zero. An optimizer looks up a parameter's group by element /
/// kParameterSegment.
inline constexpr std::int64_t kParameterSegment = 64;

/// In a segment's group byte: operations work on a 16-bit copy of this segment (mixed precision).
inline constexpr std::uint8_t kWorkingSegment = 0x80;

/// How large the buffers of an optimizer step are. `dtype` is that of the weights, gradients, moments and
/// rates: f32, and f64 in the reference. In mixed precision (Micikevicius et al., 2018) `working` is bf16 or
/// f16; otherwise it equals `dtype`.
struct FlatParams {
  std::int64_t elements, groups;
  DType dtype = DType::f32, working = DType::f32;

  bool mixed() const { return working != dtype; }
  std::string to_string() const;
};

/// What every optimizer reads and writes besides its moments.
struct FlatParameters {
  TensorView weights;                ///< (elements): the master weights
  ConstTensorView gradients;         ///< (elements)
  ConstTensorView group_of_segment;  ///< (elements / kParameterSegment) u8: a group below `groups`, and
                                     ///< kWorkingSegment in mixed precision
  ConstTensorView rates;             ///< (groups, 2) {learning rate, weight decay}, in device memory because
                                     ///< they change while a captured step does not
  // In mixed precision, (elements) in the working dtype; absent otherwise. A working segment's gradient is
  // read here instead of from `gradients`, and its new weights are written here too, rounded to nearest.
  TensorView working_weights = {};
  ConstTensorView working_gradients = {};
  /// (1) in the dtype of the rates, on the device: what every gradient is multiplied by before all else. A
  /// negative one skips the step: nothing is written. Absent: 1.
  ConstTensorView gradient_factor = {};
};

/// Throws Error(usage), naming `operation` and the operand, unless the sizes are whole segments, there are 1
/// to 128 groups, and every operand fits. That groups in group_of_segment exist is trusted: a kernel cannot
/// throw.
void check_flat_parameters(const char* operation, const FlatParams& params, const FlatParameters& operands);

/// Calls fn(TypeTag<W>{}) for the working dtype of mixed precision, W = void without it.
template <class Fn>
decltype(auto) dispatch_working(const FlatParams& params, Fn&& fn) {
  if (!params.mixed()) return fn(TypeTag<void>{});
  if (params.working == DType::bf16) return fn(TypeTag<bf16>{});
  require(params.working == DType::f16, "working parameters are bf16 or f16");
  return fn(TypeTag<f16>{});
}

}  // namespace zeroth
