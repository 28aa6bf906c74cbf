#pragma once

#include <cstddef>
#include <vector>

#include "kernels/check/kernel_case.h"
#include "kernels/core/device_resources.h"

namespace zeroth::app {

/// Operands of a call, many times over, so that calls that follow one another find theirs in memory and not
/// in a cache.
class Rotation {
 public:
  /// Sets of operands of `bytes` in all, at least one set. Inputs repeat `values`, which are those of a call
  /// whose operands have the same shapes or fewer pictures. Throws Error(runtime) where memory does not
  /// suffice.
  Rotation(Context& context, const check::KernelCase& call, DType storage, const check::Values& values,
           std::size_t bytes);

  std::size_t sets() const { return views_.size(); }
  std::size_t bytes() const { return bytes_; }
  const std::vector<TensorView>& operands(std::size_t set) const { return views_[set % views_.size()]; }

  /// Gives operands that calls read and overwrite their first values again, without which a gradient that is
  /// overwritten in place would shrink or grow from round to round.
  void refresh();

 private:
  /// One operand of all sets.
  struct Buffer {
    DeviceMemory memory;
    std::size_t stride, sets;
    bool refreshed;
  };
  void repeat_first(const Buffer& buffer) const;

  Context& context_;
  std::vector<Buffer> buffers_;         // those that are their own memory
  std::vector<DeviceMemory> pristine_;  // first values of those that are refreshed, in their order
  std::vector<std::vector<TensorView>> views_;
  std::size_t bytes_ = 0;
};

}  // namespace zeroth::app
