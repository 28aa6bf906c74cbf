#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace zeroth {

/// The plan of a step's memory. Every training step allocates and releases the same sizes in the same order:
/// the arena records one step, packs the lifetimes into one block of memory, and gives each later step the
/// same offsets. So a captured step finds its tensors where they were. Offsets only: the Allocator owns the
/// block.
///
/// What is still in use at the end of the recorded step (a value kept for the next one) has no place in the
/// plan, and a replayed step allocates it as usual; so does what follows after a step has departed from the
/// plan, which loses speed and no data.
class Arena {
 public:
  /// Recording. `data` tells allocations apart; what was allocated before the recording is passed over.
  void record_allocation(const void* data, std::size_t bytes);
  void record_release(const void* data) noexcept;
  /// Ends the recording: computes offsets and bytes().
  void pack();

  /// The size of the block that a replay needs.
  std::size_t bytes() const { return bytes_; }
  /// The most that was in use at one time: no plan needs less.
  std::size_t peak_bytes() const { return peak_; }
  /// Allocations of the recorded step that outlived it. A step to be captured has none.
  std::size_t kept() const { return kept_; }

  /// Tensors of a replayed step that have not been released.
  std::size_t in_use() const { return in_use_; }

  /// Replay of one step. Departs from the plan at once when a tensor of an earlier replay is still in use.
  void begin_replay() noexcept;
  /// The offset of the step's next allocation; nothing where it is to be allocated as usual.
  std::optional<std::size_t> allocate(std::size_t bytes) noexcept;
  void release(std::size_t offset) noexcept;
  /// Call at the end of a replayed step: a step that ends early has departed too.
  void end_replay() noexcept;
  /// How the replayed step departed from the plan; empty when it did not.
  std::string deviation() const;

 private:
  /// Positions count the step's allocations and releases.
  struct Lifetime {
    std::size_t bytes, begin, end, offset;
  };
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

  void deviate(const char* what, std::size_t expected = 0, std::size_t actual = 0) noexcept;

  std::vector<Lifetime> lifetimes_;                         // in order of allocation
  std::unordered_map<const void*, std::size_t> recorded_;   // in use while recording: index into lifetimes_
  std::unordered_map<std::size_t, std::size_t> at_offset_;  // in use while replaying: index, or kNone
  std::size_t bytes_ = 0, peak_ = 0, kept_ = 0;
  std::size_t position_ = 0, next_ = 0, in_use_ = 0;
  const char* deviation_ = nullptr;
  std::size_t deviation_at_ = 0, expected_ = 0, actual_ = 0;
};

}  // namespace zeroth
