#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "kernels/check/kernel_case.h"
#include "kernels/core/device_resources.h"

namespace zeroth::app {

/// Device memory that is kept from one use to the next: taking and returning much of it takes longer than
/// many measurements.
class ReusedMemory {
 public:
  explicit ReusedMemory(Context& context) : context_(context) {}

  /// At least so many bytes, 256-byte aligned, valid until the next call.
  std::byte* at_least(std::size_t bytes);

 private:
  Context& context_;
  std::optional<DeviceMemory> memory_;
  std::size_t bytes_ = 0;
};

/// Operands of a call, many times over, so that calls that follow one another find theirs in memory and not
/// in a cache.
class Rotation {
 public:
  /// Sets of operands of `bytes` in all, at least one set, in memory that is not used otherwise meanwhile.
  /// Inputs repeat `values`, which are those of a call whose operands have the same shapes or fewer pictures.
  /// Throws Error(runtime) where memory does not suffice.
  Rotation(Context& context, ReusedMemory& memory, const check::KernelCase& call, DType storage,
           const check::Values& values, std::size_t bytes);

  std::size_t sets() const { return views_.size(); }
  std::size_t bytes() const { return bytes_; }
  const std::vector<TensorView>& operands(std::size_t set) const { return views_[set % views_.size()]; }

  /// Gives operands that calls read and overwrite their first values again, without which a gradient that is
  /// overwritten in place would shrink or grow from round to round.
  void refresh();

 private:
  /// One operand of all sets.
  struct Buffer {
    std::byte* base;
    std::byte* pristine;  ///< its first values, where it is refreshed
    std::size_t stride, sets;
    bool refreshed;
  };
  void place(ReusedMemory& reused, const check::KernelCase& call, DType storage, std::size_t bytes);
  void repeat_first(const Buffer& buffer) const;

  Context& context_;
  std::vector<Buffer> buffers_;  // of every operand
  std::vector<std::vector<TensorView>> views_;
  std::size_t bytes_ = 0;
};

}  // namespace zeroth::app
