#pragma once

#include <span>
#include <vector>

#include "engine/tensor.h"

namespace zeroth {

/// The small values that change from step to step (rates, a step number, the place in an epoch's order). They
/// lie together in one piece of device memory, and one upload before the step writes them all: a step that
/// was captured once reads the new ones from there.
class StepInputs {
 public:
  static constexpr std::size_t kBytes = 512;

  explicit StepInputs(Context& context);

  /// A place for a value, of zeros at first; valid as long as this is. Throws Error(usage) when kBytes are
  /// given out.
  TensorView add(const Shape& shape, DType dtype);
  /// Sets a place on the host. `bytes` has the place's size.
  void set(const TensorView& place, std::span<const std::byte> bytes);
  /// What a place was set to, on the host.
  ConstTensorView host(const TensorView& place) const;
  /// Queues one copy of everything to the device, unless nothing has changed. Not while the stream is
  /// captured.
  void upload();

 private:
  Context& context_;
  Tensor on_device_;
  std::vector<std::byte> host_;
  std::size_t used_ = 0;
  bool changed_ = false;
};

}  // namespace zeroth
