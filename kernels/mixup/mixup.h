#pragma once

#include <span>

#include "kernels/core/operation_table.h"

namespace zeroth {

/// Mixes the pictures of a batch in pairs (Zhang, Cisse, Dauphin, Lopez-Paz: "mixup: beyond empirical risk
/// minimization", ICLR 2018). In place, from the values that were there:
///   x[i] = share * x[i] + (1 - share) * x[N - 1 - i],   other_labels[i] = labels[N - 1 - i]
/// A batch is drawn in random order, so that row i's partner, the row as far from the other end, is any other
/// picture. The middle row of an odd batch stays as it is. x: (N, any shape) storage dtype; labels,
/// other_labels: (N) i32, no aliasing; share: (1) statistics dtype, in [0, 1], on the device, as it changes
/// from step to step. The sum is rounded to the storage dtype once. No backward: pictures have no gradient.
struct MixupParams {
  std::int64_t n, row_elements;
  DType dtype = DType::f32;
  std::string to_string() const;
};

struct MixupRow : Row {
  bool (*supports)(const MixupParams&);
  void (*forward)(Context&, const MixupParams&, TensorView x, ConstTensorView labels, ConstTensorView share,
                  TensorView other_labels);
};

/// Every implementation, in order of preference.
std::span<const MixupRow> mixup_rows();

namespace reference {
extern const MixupRow mixup_row;
}
namespace cpu {
extern const MixupRow mixup_row;
}
namespace simt_native {
extern const MixupRow mixup_row;
}
namespace cuda_native {
extern const MixupRow mixup_row;
}

void mixup_forward(Context& context, TensorView x, ConstTensorView labels, ConstTensorView share,
                   TensorView other_labels);

}  // namespace zeroth
