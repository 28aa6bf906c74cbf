#pragma once

#include <span>

#include "kernels/core/flat_parameters.h"

namespace zeroth {

/// One step of an average that follows the values of a flat buffer:
///   average += s * (value - average);     write_back:  value = average
/// s is `share`; with warm_up at least 9 / (9 + t) of it after t steps, so that an average which begins at
/// the first values forgets them: the decay 1 - s is then at most t / (9 + t) (TensorFlow's
/// ExponentialMovingAverage, whose t begins with 0). Where s is 0 the average keeps its bits. With write_back
/// this is Lookahead (Zhang, Lucas, Hinton and Ba, 2019): the values are the fast weights, the average the
/// slow ones. Only every `every`-th step counts; the others change nothing.
struct MovingAverageParams {
  std::int64_t elements = 0;
  DType dtype = DType::f32;    ///< of values, average and share
  DType working = DType::f32;  ///< bf16 or f16 in mixed precision, else `dtype`
  std::int64_t every = 1;
  bool warm_up = false, write_back = false;

  /// Whether values that are written have 16-bit copies.
  bool mixed() const { return write_back && working != dtype; }
  std::string to_string() const;
};

struct MovingAverageOperands {
  TensorView values;      ///< (elements), whole segments; written with write_back alone
  TensorView average;     ///< (elements)
  ConstTensorView share;  ///< (1), from 0 to 1, in device memory because it changes from step to step
  ConstTensorView updates =
      {};  ///< (1) i32: t, at least 1; may be absent where every is 1 and nothing warms up
  /// (1): a negative one skips the step, as FlatParameters::gradient_factor does. Absent: 1.
  ConstTensorView gradient_factor = {};
  // Where mixed(), as FlatParameters has them: values of working segments are written here too, rounded.
  ConstTensorView group_of_segment = {};
  TensorView working_weights = {};
};

struct MovingAverageRow : Row {
  bool (*supports)(const MovingAverageParams&);
  void (*step)(Context&, const MovingAverageParams&, const MovingAverageOperands&);
};

/// Every implementation, in order of preference.
std::span<const MovingAverageRow> moving_average_rows();

namespace reference {
extern const MovingAverageRow moving_average_row;
}
namespace cpu {
extern const MovingAverageRow moving_average_row;
}
namespace simt_native {
extern const MovingAverageRow moving_average_row;
}
namespace cuda_native {
extern const MovingAverageRow moving_average_row;
}

void moving_average_step(Context& context, const MovingAverageParams& params,
                         const MovingAverageOperands& operands);

}  // namespace zeroth
