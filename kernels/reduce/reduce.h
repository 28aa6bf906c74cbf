#pragma once

#include <span>

#include "kernels/core/operation_table.h"

namespace zeroth {

/// Reductions of a whole tensor to one number, in an order that depends on the size alone.
enum class Reduction : std::uint8_t {
  sum,
  sum_of_squares,   ///< its square root is the L2 norm
  max_abs,          ///< NaN if any element is NaN
  count_nonfinite,  ///< how many elements are infinite or NaN
};

const char* name_of(Reduction reduction);

/// x: any shape, storage dtype; result: (1) in the statistics dtype. Sums run in f32 over short pieces and in
/// a tree above (f64 for f64).
struct ReduceParams {
  Reduction reduction;
  std::int64_t elements;
  DType dtype = DType::f32;
  std::string to_string() const;
};

struct ReduceRow : Row {
  bool (*supports)(const ReduceParams&);
  std::size_t (*workspace)(Context&, const ReduceParams&);
  void (*forward)(Context&, const ReduceParams&, ConstTensorView x, TensorView result, Workspace);
};

/// Every implementation, in order of preference.
std::span<const ReduceRow> reduce_rows();

namespace reference {
extern const ReduceRow reduce_row;
}
namespace cpu {
extern const ReduceRow reduce_row;
}
namespace simt_native {
extern const ReduceRow reduce_row;
}
namespace cuda_native {
extern const ReduceRow reduce_row;
}

std::size_t reduce_workspace(Context& context, const ReduceParams& params);

void reduce_forward(Context& context, const ReduceParams& params, ConstTensorView x, TensorView result,
                    Workspace workspace);

}  // namespace zeroth
