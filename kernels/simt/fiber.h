#pragma once

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>
#include <memory>
#include <vector>

namespace zeroth::simt {

/// A stack and the place where it was left. The sanitizers are told of every switch.
struct Fiber {
  boost::context::detail::fcontext_t context = nullptr;
  void* stack_bottom = nullptr;
  std::size_t stack_bytes = 0;
  void* sanitizer_state = nullptr;  // address sanitizer's fake stack, or thread sanitizer's fiber
  unsigned number = 0;
};

/// Runs on every new fiber; never returns.
void fiber_main(Fiber& fiber);

/// Leaves `from`, runs `to`; returns when somebody switches to `from`.
void switch_fiber(Fiber& from, Fiber& to);

/// Records the calling context, so that fibers can switch back to it.
void adopt_current(Fiber& host);

/// Fibers whose stacks are kept for the next block. A stack is mapped, with a guard page below it, and takes
/// real memory only as far as it is used.
class FiberPool {
 public:
  FiberPool() = default;
  ~FiberPool();
  FiberPool(const FiberPool&) = delete;
  FiberPool& operator=(const FiberPool&) = delete;

  Fiber& take();
  void give_back(Fiber& fiber) { idle_.push_back(&fiber); }
  /// Fiber by number, made when there is none yet. Not to be mixed with take().
  Fiber& numbered(unsigned number);

 private:
  Fiber& make();

  std::vector<std::unique_ptr<Fiber>> all_;
  std::vector<Fiber*> idle_;
};

/// Thread sanitizer sees a fiber per CUDA thread, which therefore needs a stack of its own.
#ifdef ZEROTH_SIMT_TSAN
inline constexpr bool kFiberPerThread = true;
#else
inline constexpr bool kFiberPerThread = false;
#endif

/// What happened before release(address) happened before what follows acquire(address): for thread sanitizer.
void tsan_release(void* address);
void tsan_acquire(void* address);

/// While one exists, thread sanitizer ignores what this fiber does: for the harness's own use of kernel
/// memory.
class TsanIgnore {
 public:
  TsanIgnore();
  ~TsanIgnore();
  TsanIgnore(const TsanIgnore&) = delete;
  TsanIgnore& operator=(const TsanIgnore&) = delete;
};

}  // namespace zeroth::simt
