#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>

#include "kernels/core/arena.h"
#include "kernels/core/device_resources.h"

namespace zeroth {

/// A stream-ordered caching allocator: blocks return to a free list by size and are handed out again without
/// asking the device, which is safe without events because all work of a Context is on one stream. Not
/// thread-safe: one allocator belongs to one Context.
class Allocator {
 public:
  explicit Allocator(Device device);

  /// 256-byte aligned. Throws Error(runtime) when the device has no more, after giving back what is cached.
  void* allocate(std::size_t bytes);
  /// Takes a block back. Null, and what is not in use, is left alone.
  void release(void* data) noexcept;

  std::size_t bytes_in_use() const { return in_use_; }
  std::size_t peak_bytes() const { return peak_; }
  /// Bytes obtained from the device: in use plus cached.
  std::size_t bytes_reserved() const { return reserved_; }
  void reset_peak() { peak_ = in_use_; }

  /// Plans the memory of a step (arena.h): record a step that is like the later ones (the second, when
  /// scratch memory has grown and caches are filled), then replay it as often as wanted.
  void begin_recording();
  /// Ends the recording and takes the plan's block from the device.
  void end_recording();
  void begin_replay();
  /// Ends a replayed step; false when it departed from the plan, which plan()->deviation() explains. It has
  /// then been served as without a plan.
  bool end_replay();
  /// Null before the first end_recording().
  const Arena* plan() const { return plan_ ? &*plan_ : nullptr; }
  /// Gives the plan up. Throws Error(usage) while a tensor still lies in its block.
  void drop_plan();

 private:
  struct Block {
    DeviceMemory memory;
    std::size_t bytes;
    bool in_use;
    Block* next_free;
  };
  enum class Phase : std::uint8_t { plain, recording, replaying };

  void* allocate_block(std::size_t bytes);
  Block& new_block(std::size_t bytes);
  void release_cached() noexcept;

  Device device_;
  const DeviceBackend& backend_;
  std::unordered_map<const void*, Block> blocks_;
  std::map<std::size_t, Block*>
      free_;  // first free block of each size; entries stay, so releasing allocates nothing
  std::size_t in_use_ = 0, peak_ = 0, reserved_ = 0;

  Phase phase_ = Phase::plain;
  std::optional<Arena> plan_;
  std::byte* plan_block_ = nullptr;
};

}  // namespace zeroth
