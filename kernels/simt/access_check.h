#pragma once

// Checks of single accesses, where the build has address sanitizer: reads of shared memory that the block has
// not written, and what a report of the sanitizer says of shared arrays.

#include <cstddef>

namespace zeroth::simt {

#ifdef ZEROTH_SIMT_CHECK_ACCESS
/// From now on this OS thread's shared memory is [arena, arena + bytes), all unwritten.
void watch_arena(void* arena, std::size_t bytes);
void forget_arena();
/// The bytes count as unwritten again.
void forget_writes(void* from, std::size_t bytes);
#else
inline void watch_arena(void*, std::size_t) {}
inline void forget_arena() {}
inline void forget_writes(void*, std::size_t) {}
#endif

}  // namespace zeroth::simt
