#pragma once

// Makes the calls that cases describe, and holds what they compute against the f64 reference.

#include <memory>
#include <string>
#include <vector>

#include "kernels/check/kernel_case.h"
#include "kernels/check/operand.h"

namespace zeroth::check {

/// The operands of one call in one context's memory.
class Call {
 public:
  Call(const KernelCase& call, Context& context, DType storage, const Values& before);

  const Operand& operand(std::size_t i) const;
  /// Whether nothing was written beside an operand or the workspace.
  bool intact() const;
  /// Whether another operand is written over this one.
  bool overwritten(std::size_t i) const;
  std::vector<std::byte> written_bytes() const;

 private:
  /// An operand starts 16 bytes past a multiple of 256, a workspace on one.
  static constexpr int kWorkspacePadding = 240;

  const KernelCase& call_;
  std::vector<std::unique_ptr<Operand>> operands_;
  std::unique_ptr<Operand> workspace_;
};

/// Operands before the call: inputs and inouts drawn, prepared and rounded to their dtypes; outputs empty.
Values draw_operands(const KernelCase& call, DType storage);

/// All operands after the reference ran in f64 on these.
Values evaluate(const KernelCase& call, const Values& before);

/// What a call in a storage dtype is held against.
struct Expectation {
  Values before;     ///< what the operands are given
  Values after;      ///< what the reference makes of them in f64
  Values magnitude;  ///< what errors are relative to
};
Expectation expect(const KernelCase& call, DType storage);

/// What is wrong with a call that has been made on the row: results outside of their bounds (outputs hold NaN
/// before the call, so an element nobody wrote is wrong), inputs or untouched operands that changed, writes
/// beside an operand or the workspace. One sentence each.
std::vector<std::string> faults_of(const KernelCase& call, DType storage, const Row& row, const Call& done,
                                   const Expectation& expected);

}  // namespace zeroth::check
