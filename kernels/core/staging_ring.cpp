#include "kernels/core/staging_ring.h"

#include <algorithm>
#include <cstring>

#include "kernels/core/error.h"

namespace zeroth {

StagingRing::StagingRing(const DeviceBackend& backend, int device_index)
    : backend_(backend), memory_(backend, device_index, kSlots * kSlotBytes) {
  fetched_.reserve(kSlots);
  for (std::size_t slot = 0; slot < kSlots; ++slot) fetched_.emplace_back(backend, device_index);
}

StagingRing::~StagingRing() {
  try {  // pinned memory must outlive the copies from it
    for (const Event& event : fetched_) event.wait();
  } catch (const Error&) {  // a failed device copies nothing any more
  }
}

void StagingRing::upload(void* to, std::span<const std::byte> from, Stream stream) {
  if (backend_.is_capturing(stream)) fail_in_capture("an upload");
  for (std::size_t begin = 0; begin < from.size(); begin += kSlotBytes) {
    const std::span<const std::byte> piece = from.subspan(begin, std::min(kSlotBytes, from.size() - begin));
    std::byte* slot = memory_.bytes().data() + next_ * kSlotBytes;
    fetched_[next_].wait();
    std::memcpy(slot, piece.data(), piece.size());
    backend_.copy_to_device(static_cast<std::byte*>(to) + begin, slot, piece.size(), stream);
    fetched_[next_].record(stream);
    next_ = (next_ + 1) % kSlots;
  }
}

}  // namespace zeroth
