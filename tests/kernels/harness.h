#pragma once

// Holds every row of an operation's table against its f64 reference, case by case. What a case is, and how it
// is held against the reference: see kernels/check/. What single tests are made of: see rows.h.

#include <functional>
#include <vector>

#include "kernels/check/call.h"
#include "tests/kernels/rows.h"

namespace zeroth::testing {

/// Runs the case on every row, on those of `devices` that are here, in f32, bf16 and f16, and checks:
/// every output lies within its bound of the f64 reference on the same rounded inputs (outputs hold NaN
/// before the call, so an element nobody wrote fails); inputs and untouched operands keep their bits; nothing
/// is written beside an operand or the workspace; a second run, every simt thread order and, on the CPU,
/// every number of threads give the same bits (oneDNN's rows only promise that for one number of threads).
inline constexpr DeviceKind kEveryDevice[] = {DeviceKind::cpu, DeviceKind::simt, DeviceKind::cuda};
void check_case(const KernelCase& call, std::span<const DeviceKind> devices = kEveryDevice);
void check_cases(const std::vector<KernelCase>& calls);

/// A differentiable function, its inputs in f64 and its gradient.
struct Differentiable {
  Values inputs;
  std::function<std::vector<double>(const Values& inputs)> forward;
  /// The gradient of sum(dy * forward(inputs)) with respect to each input; an empty list where there is none.
  std::function<Values(const Values& inputs, const std::vector<double>& dy)> backward;
};

/// Compares directional derivatives of random projections of the outputs with central differences, along
/// random directions and along single elements of each input. The bound is the differences' own error: how
/// far halving the step moves them, and cancellation. A function that is not smooth at its inputs fails.
void check_gradient(const Differentiable& function, std::uint64_t seed = 1);

/// <forward(x), y> == <x, backward(y)> for a linear function and its adjoint, up to `roundings` roundings in
/// f64.
void check_adjoint(std::int64_t x_elements, std::int64_t y_elements,
                   const std::function<std::vector<double>(const std::vector<double>& x)>& forward,
                   const std::function<std::vector<double>(const std::vector<double>& y)>& backward,
                   double roundings);

}  // namespace zeroth::testing
