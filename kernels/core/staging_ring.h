#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "kernels/core/device_resources.h"

namespace zeroth {

/// Carries small host values to a device without waiting for it: what changes from step to step, such as
/// rates. A value is copied into a slot of pinned memory, from where the stream fetches it when it gets
/// there; an event tells when the slot is free again. The host waits only when every slot is still on its
/// way.
class StagingRing {
 public:
  static constexpr std::size_t kSlots = 32, kSlotBytes = 4096;

  StagingRing(const DeviceBackend& backend, int device_index);
  ~StagingRing();

  /// Queues a copy to `to` in device memory. `from` may change as soon as the call returns. Larger values go
  /// in pieces. Throws Error(runtime) where the stream is being captured: a replayed copy would fetch what
  /// lies in the slot then.
  void upload(void* to, std::span<const std::byte> from, Stream stream);

 private:
  const DeviceBackend& backend_;
  PinnedMemory memory_;
  std::vector<Event> fetched_;  // of each slot: the copy out of it
  std::size_t next_ = 0;
};

}  // namespace zeroth
