#pragma once

// Barriers, shuffles and votes under CUDA's names. The trailing default arguments record the caller's line.

#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/simt/runtime.h"

#define ZEROTH_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

namespace zeroth::simt {

inline constexpr std::uint32_t kAllLanes = 0xffffffffu;

/// One lane's part in a shuffle: its value goes in, the value of lane `source` comes out.
struct ShuffleLane {
  std::uint64_t value;
  int source;
};

enum class ShuffleKind : std::uint8_t { index, up, down, exclusive_or };

/// The lane a shuffle reads, by CUDA's rules for segments of `width` lanes. Throws unless width is a power of
/// two.
int shuffle_source(ShuffleKind kind, int operand, int width, Site site);
void complete_shuffle(void* const* lanes, std::uint32_t mask, const char* name, Site site);

/// One lane's part in a vote: its predicate goes in, the mask of lanes whose predicate holds comes out.
std::uint32_t vote(const char* name, std::uint32_t mask, bool predicate, Site site);

enum class ReduceKind : std::uint8_t { add, minimum, maximum, bit_and, bit_or, bit_xor };
std::uint32_t reduce(ReduceKind kind, bool is_signed, std::uint32_t mask, std::uint32_t value, Site site);
std::uint32_t match_any(std::uint32_t mask, std::uint64_t value, Site site);
void sync_warp(std::uint32_t mask, Site site);

template <class T>
T shuffle(ShuffleKind kind, const char* name, std::uint32_t mask, T value, int operand, int width,
          Site site) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "shuffles move 4 or 8 bytes");
  ShuffleLane lane{0, shuffle_source(kind, operand, width, site)};
  std::memcpy(&lane.value, &value, sizeof(T));
  const Collective collective{name, complete_shuffle, false, false, false};
  warp_collective(collective, mask, &lane, site);
  std::memcpy(&value, &lane.value, sizeof(T));
  return value;
}

}  // namespace zeroth::simt

inline void __syncthreads(ZEROTH_SITE) {
  ::zeroth::simt::block_barrier("__syncthreads", ::zeroth::simt::BarrierVote::none, false, {file, line});
}
inline int __syncthreads_count(int predicate, ZEROTH_SITE) {
  return ::zeroth::simt::block_barrier("__syncthreads_count", ::zeroth::simt::BarrierVote::count,
                                       predicate != 0, {file, line});
}
inline int __syncthreads_and(int predicate, ZEROTH_SITE) {
  return ::zeroth::simt::block_barrier("__syncthreads_and", ::zeroth::simt::BarrierVote::all, predicate != 0,
                                       {file, line});
}
inline int __syncthreads_or(int predicate, ZEROTH_SITE) {
  return ::zeroth::simt::block_barrier("__syncthreads_or", ::zeroth::simt::BarrierVote::any, predicate != 0,
                                       {file, line});
}
inline void __syncwarp(unsigned mask = ::zeroth::simt::kAllLanes, ZEROTH_SITE) {
  ::zeroth::simt::sync_warp(mask, {file, line});
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source_lane, int width = warpSize, ZEROTH_SITE) {
  return ::zeroth::simt::shuffle(::zeroth::simt::ShuffleKind::index, "__shfl_sync", mask, value, source_lane,
                                 width, {file, line});
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize, ZEROTH_SITE) {
  return ::zeroth::simt::shuffle(::zeroth::simt::ShuffleKind::up, "__shfl_up_sync", mask, value,
                                 static_cast<int>(delta), width, {file, line});
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize, ZEROTH_SITE) {
  return ::zeroth::simt::shuffle(::zeroth::simt::ShuffleKind::down, "__shfl_down_sync", mask, value,
                                 static_cast<int>(delta), width, {file, line});
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = warpSize, ZEROTH_SITE) {
  return ::zeroth::simt::shuffle(::zeroth::simt::ShuffleKind::exclusive_or, "__shfl_xor_sync", mask, value,
                                 lane_mask, width, {file, line});
}

inline unsigned __ballot_sync(unsigned mask, int predicate, ZEROTH_SITE) {
  return ::zeroth::simt::vote("__ballot_sync", mask, predicate != 0, {file, line});
}
inline int __any_sync(unsigned mask, int predicate, ZEROTH_SITE) {
  return ::zeroth::simt::vote("__any_sync", mask, predicate != 0, {file, line}) != 0;
}
inline int __all_sync(unsigned mask, int predicate, ZEROTH_SITE) {
  // The vote is on the opposite, so that lanes the warp does not have count as true.
  return ::zeroth::simt::vote("__all_sync", mask, predicate == 0, {file, line}) == 0;
}
inline unsigned __activemask() {
  return ::zeroth::simt::live_lanes();
}

template <class T>
unsigned __match_any_sync(unsigned mask, T value, ZEROTH_SITE) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8),
                "matches compare 4 or 8 bytes");
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  return ::zeroth::simt::match_any(mask, bits, {file, line});
}

#define ZEROTH_REDUCE(name, kind)                                                                      \
  inline unsigned name(unsigned mask, unsigned value, ZEROTH_SITE) {                                   \
    return ::zeroth::simt::reduce(::zeroth::simt::ReduceKind::kind, false, mask, value, {file, line}); \
  }                                                                                                    \
  inline int name(unsigned mask, int value, ZEROTH_SITE) {                                             \
    return static_cast<int>(::zeroth::simt::reduce(::zeroth::simt::ReduceKind::kind, true, mask,       \
                                                   static_cast<unsigned>(value), {file, line}));       \
  }
ZEROTH_REDUCE(__reduce_add_sync, add)
ZEROTH_REDUCE(__reduce_min_sync, minimum)
ZEROTH_REDUCE(__reduce_max_sync, maximum)
ZEROTH_REDUCE(__reduce_and_sync, bit_and)
ZEROTH_REDUCE(__reduce_or_sync, bit_or)
ZEROTH_REDUCE(__reduce_xor_sync, bit_xor)
#undef ZEROTH_REDUCE

inline void __threadfence() {
  ::zeroth::simt::memory_fence();
}
inline void __threadfence_block() {
  ::zeroth::simt::memory_fence();
}
inline void __threadfence_system() {
  ::zeroth::simt::memory_fence();
}
inline void __nanosleep(unsigned, ZEROTH_SITE) {
  ::zeroth::simt::yield({file, line});
}
[[noreturn]] inline void __trap(ZEROTH_SITE) {
  ::zeroth::simt::fail_in_kernel("__trap()", {file, line});
}
