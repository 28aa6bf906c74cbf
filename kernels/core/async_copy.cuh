#pragma once

// Copies from global to shared memory that run beside the thread that asks for them (cp.async, compute
// capability 8.0; PTX ISA, "Asynchronous copy"). A thread waits for its own copies only: a barrier must come
// between its wait and reads by other threads.
// On the host a copy is made when it is waited for, and its place holds 0xFF bytes (NaN) until then: a kernel
// that reads too early computes NaN.

#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "kernels/core/launch.cuh"

namespace zeroth::ZEROTH_NATIVE {

/// One thread's copies.
class AsyncCopies {
 public:
  /// Starts a copy of 16 bytes; where `inside` is false, of zeros, and `global` is not read. Both addresses
  /// are multiples of 16; `global` points into global memory in any case.
  __device__ void copy_16(void* shared, const void* global, bool inside);
  /// Makes a group of the copies started since the last call; it may be empty.
  __device__ void commit();
  /// Waits until at most the youngest `kPending` groups are on their way.
  template <int kPending>
  __device__ void wait();

#ifndef __CUDACC__
 private:
  struct alignas(16) Chunk {
    unsigned char byte[16];
  };
  struct Copy {
    Chunk* to;
    const Chunk* from;  // null: zeros
  };
  std::vector<Copy> started_;
  std::deque<std::vector<Copy>> groups_;
#endif
};

#ifdef __CUDACC__

__device__ inline void AsyncCopies::copy_16(void* shared, const void* global, bool inside) {
  const int bytes = inside ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(shared))), "l"(global), "r"(bytes)
               : "memory");
}
__device__ inline void AsyncCopies::commit() {
  asm volatile("cp.async.commit_group;" : : : "memory");
}
template <int kPending>
__device__ inline void AsyncCopies::wait() {
  asm volatile("cp.async.wait_group %0;" : : "n"(kPending) : "memory");
}

#else

inline void AsyncCopies::copy_16(void* shared, const void* global, bool inside) {
  auto* to = static_cast<Chunk*>(shared);
  for (unsigned char& byte : to->byte) byte = 0xFF;
  started_.push_back({to, inside ? static_cast<const Chunk*>(global) : nullptr});
}
inline void AsyncCopies::commit() {
  groups_.push_back(std::move(started_));
  started_.clear();
}
template <int kPending>
void AsyncCopies::wait() {
  for (; groups_.size() > kPending; groups_.pop_front())
    for (const Copy& copy : groups_.front()) *copy.to = copy.from == nullptr ? Chunk{} : *copy.from;
}

#endif

}  // namespace zeroth::ZEROTH_NATIVE
