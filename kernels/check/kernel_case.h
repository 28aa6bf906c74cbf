#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/core/context.h"
#include "kernels/core/operation_table.h"

namespace zeroth::check {

/// What a call does with an operand. `untouched` is what GradMode::skip promises.
enum class Role : std::uint8_t { input, output, inout, untouched };

/// The dtype of an operand, as a function of the problem's storage dtype.
enum class ElementKind : std::uint8_t {
  storage,
  statistics,  ///< f32, and f64 for f64
  i32,
  u8
};

/// What an output's error is relative to.
enum class Magnitude : std::uint8_t {
  value,     ///< the expected value itself
  absolute,  ///< what the reference gives where every input is replaced by its magnitude: sums of products
  custom     ///< what KernelCase::magnitude gives
};

/// Which part of a training step a call is.
enum class Pass : std::uint8_t {
  forward,
  inference,        ///< forward of a network that is not trained
  backward,         ///< all gradients at once
  backward_data,    ///< the gradient of what came from the layer before
  backward_weight,  ///< of the layer's own parameters
};
const char* name_of(Pass pass);

/// Numbers, one list an operand, in the order of KernelCase::operands.
using Values = std::vector<std::vector<double>>;

/// Roundings that a computed element may contain: it is within `roundings` times the unit roundoff of the
/// compute type of the exact value, relative to its magnitude, plus one rounding to its own dtype. For a sum
/// of n terms added in sequence, n; for a tree of runs of r terms, r + log2(n / r). None: the exact value,
/// rounded once to the output's dtype, and nothing else.
struct Accuracy {
  double roundings = 0.0;
  Magnitude magnitude = Magnitude::value;
  double reference_roundings = 0.0;  ///< of the reference row in f32, whose sums are sequential; 0: the same
};

/// A row that adds up other terms than the formula has, as a fast algorithm does: what its errors are
/// relative to.
struct OtherSum {
  const char* row;
  double roundings;
  /// The operands before the call to the magnitudes of what it writes.
  std::function<Values(const Values& before)> magnitude;
};

struct OperandSpec {
  const char* name;
  Shape shape;
  Role role = Role::input;
  ElementKind kind = ElementKind::storage;
  double low = -1.0, high = 1.0;     ///< what an input, or an inout before the call, is drawn from
  std::vector<double> special = {};  ///< first elements of it, instead of random ones
  Accuracy accuracy = {};            ///< of outputs
  int aliases = -1;                  ///< an output that is written where input number `aliases` lies

  bool written() const { return role == Role::output || role == Role::inout; }
  DType dtype(DType storage) const;
};

/// One call of an operation, as data: what to give it, how to call it, what may be wrong with what it gives.
/// The storage dtype stays open: f64 is the reference, the others are what rows are held against it in.
struct KernelCase {
  std::string operation;  ///< as --impl names it
  std::string name;       ///< of the call and its problem, in messages
  std::vector<OperandSpec> operands = {};
  /// Calls the operation through its public function.
  std::function<void(Context&, DType, std::span<const TensorView>, Workspace)> run = {};
  /// The rows that take this problem in a storage dtype, devices that are not here included.
  std::function<std::vector<Row>(DType)> rows = {};
  /// Bytes of workspace `run` needs; empty: none.
  std::function<std::size_t(Context&, DType)> workspace = {};
  /// Turns random inputs into meaningful ones (winners inside their windows, moments that fit x). They are
  /// rounded to their dtypes afterwards.
  std::function<void(Values&)> prepare = {};
  /// For Magnitude::custom: the operands before the call, and those after it, to magnitudes of each operand.
  std::function<Values(const Values& before, const Values& after)> magnitude = {};
  std::optional<OtherSum> other_sum = {};
  double flops = 0.0;
  std::uint64_t seed = 1;
  Pass pass = Pass::forward;
  bool accumulates = false;  ///< of backward: whether the gradient of the layer before is added to
};

/// The rows of a table that take a problem.
template <class RowType, class Params>
std::vector<Row> rows_taking(std::span<const RowType> table, const Params& params) {
  std::vector<Row> result;
  for (const RowType& row : table)
    if (row.supports(params)) result.push_back(row);
  return result;
}

/// The role of a gradient in a mode.
Role role_of(GradMode mode);
const char* name_of(GradMode mode);
inline constexpr GradMode kGradModes[] = {GradMode::skip, GradMode::overwrite, GradMode::accumulate};

/// Bytes the call has to move: every operand once, an inout twice. A row that reads something twice moves
/// more.
double bytes_of(const KernelCase& call, DType storage);

}  // namespace zeroth::check
