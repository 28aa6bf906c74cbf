#pragma once

// CUDA's atomics: relaxed, as on the device; order comes from __threadfence() and barriers.

#include <atomic>
#include <cstdint>
#include <type_traits>

#include "kernels/simt/runtime.h"

namespace zeroth::simt {

/// Replaces *address by update(old) and returns the old value.
template <class T, class Update>
T atomic_update(T* address, Update&& update) {
  std::atomic_ref<T> cell(*address);
  T old = cell.load(std::memory_order_relaxed);
  while (!cell.compare_exchange_weak(old, update(old), std::memory_order_relaxed)) {
  }
  return old;
}

/// CUDA offers an atomic for some types only; the second argument converts, as it does there.
template <class T, class... Allowed>
inline constexpr bool is_one_of = (std::is_same_v<T, Allowed> || ...);

template <class T>
concept AtomicInteger = is_one_of<T, int, unsigned, unsigned long long>;
template <class T>
concept AtomicAddend = AtomicInteger<T> || is_one_of<T, float, double>;
template <class T>
concept AtomicComparable = AtomicInteger<T> || is_one_of<T, long long>;
template <class T>
concept AtomicWord = AtomicInteger<T> || is_one_of<T, float>;

}  // namespace zeroth::simt

template <zeroth::simt::AtomicAddend T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*address).fetch_add(value, std::memory_order_relaxed);
}
template <class T>
requires zeroth::simt::is_one_of<T, int, unsigned> T atomicSub(T* address, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*address).fetch_sub(value, std::memory_order_relaxed);
}
template <zeroth::simt::AtomicComparable T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  return zeroth::simt::atomic_update(address, [value](T old) { return old < value ? value : old; });
}
template <zeroth::simt::AtomicComparable T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  return zeroth::simt::atomic_update(address, [value](T old) { return value < old ? value : old; });
}
template <zeroth::simt::AtomicInteger T>
T atomicAnd(T* address, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*address).fetch_and(value, std::memory_order_relaxed);
}
template <zeroth::simt::AtomicInteger T>
T atomicOr(T* address, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*address).fetch_or(value, std::memory_order_relaxed);
}
template <zeroth::simt::AtomicInteger T>
T atomicXor(T* address, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*address).fetch_xor(value, std::memory_order_relaxed);
}
template <zeroth::simt::AtomicWord T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*address).exchange(value, std::memory_order_relaxed);
}
template <zeroth::simt::AtomicInteger T>
T atomicCAS(T* address, std::type_identity_t<T> compare, std::type_identity_t<T> value,
            const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  const T wanted = compare;
  // A failed exchange may be a loop that waits for another thread: let that thread run.
  if (!std::atomic_ref<T>(*address).compare_exchange_strong(compare, value, std::memory_order_relaxed) &&
      compare != wanted)
    zeroth::simt::yield({file, line});
  return compare;
}
inline unsigned atomicInc(unsigned* address, unsigned limit) {
  return zeroth::simt::atomic_update(address, [limit](unsigned old) { return old >= limit ? 0u : old + 1; });
}
inline unsigned atomicDec(unsigned* address, unsigned limit) {
  return zeroth::simt::atomic_update(
      address, [limit](unsigned old) { return old == 0 || old > limit ? limit : old - 1; });
}
