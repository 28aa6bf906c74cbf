// Built without thread sanitizer: it must not see a switch as one thread's calls and returns.

#include "kernels/simt/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <new>
#include <string>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#ifdef ZEROTH_SIMT_TSAN
extern "C" {
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_set_fiber_name(void* fiber, const char* name);
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#endif

namespace zeroth::simt {

namespace {

using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

// Room for a sanitizer's report, which is written on the stack of the fiber that erred.
constexpr std::size_t kStackBytes = 256 * 1024;

struct Switch {
  Fiber* from;
  Fiber* to;
};

/// The first thing done on the other side of a switch.
void arrive(transfer_t transfer) {
  const Switch& taken = *static_cast<Switch*>(transfer.data);
  Fiber& from = *taken.from;
  from.context = transfer.fctx;
#ifdef __SANITIZE_ADDRESS__
  const void* bottom;
  std::size_t bytes;
  __sanitizer_finish_switch_fiber(taken.to->sanitizer_state, &bottom, &bytes);
  from.stack_bottom = const_cast<void*>(bottom);
  from.stack_bytes = bytes;
#endif
}

void enter(transfer_t transfer) {
  Fiber& self = *static_cast<Switch*>(transfer.data)->to;
  arrive(transfer);
  fiber_main(self);
}

}  // namespace

void switch_fiber(Fiber& from, Fiber& to) {
  Switch taken{&from, &to};
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&from.sanitizer_state, to.stack_bottom, to.stack_bytes);
#endif
#ifdef ZEROTH_SIMT_TSAN
  constexpr unsigned kNoSync = 1;
  __tsan_switch_to_fiber(to.sanitizer_state, kNoSync);
#endif
  arrive(jump_fcontext(to.context, &taken));
}

void adopt_current([[maybe_unused]] Fiber& host) {
#ifdef ZEROTH_SIMT_TSAN
  host.sanitizer_state = __tsan_get_current_fiber();
#endif
}

FiberPool::~FiberPool() {
  for (const auto& fiber : all_) {
#ifdef ZEROTH_SIMT_TSAN
    __tsan_destroy_fiber(fiber->sanitizer_state);
#endif
#ifdef __SANITIZE_ADDRESS__
    // The frames of a parked fiber never return; whoever gets these addresses next must not inherit their marks.
    __asan_unpoison_memory_region(fiber->stack_bottom, fiber->stack_bytes);
#endif
    munmap(fiber->stack_bottom, fiber->stack_bytes);
  }
}

Fiber& FiberPool::make() {
  void* stack =
      mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) throw std::bad_alloc();
  mprotect(stack, static_cast<std::size_t>(sysconf(_SC_PAGESIZE)), PROT_NONE);
  auto fiber = std::make_unique<Fiber>();
  fiber->number = static_cast<unsigned>(all_.size());
  fiber->stack_bottom = stack;
  fiber->stack_bytes = kStackBytes;
  // Stacks that all begin at the same offset within a page would share a few sets of the first-level cache.
  const std::size_t color = fiber->number % 31 * 128;
  fiber->context = make_fcontext(static_cast<char*>(stack) + kStackBytes - color, kStackBytes - color, enter);
#ifdef ZEROTH_SIMT_TSAN
  fiber->sanitizer_state = __tsan_create_fiber(0);
  __tsan_set_fiber_name(fiber->sanitizer_state, ("simt fiber " + std::to_string(fiber->number)).c_str());
#endif
  all_.push_back(std::move(fiber));
  return *all_.back();
}

Fiber& FiberPool::take() {
  if (idle_.empty()) return make();
  Fiber& fiber = *idle_.back();
  idle_.pop_back();
  return fiber;
}

Fiber& FiberPool::numbered(unsigned number) {
  while (all_.size() <= number) make();
  return *all_[number];
}

#ifdef ZEROTH_SIMT_TSAN
void tsan_release(void* address) {
  __tsan_release(address);
}
void tsan_acquire(void* address) {
  __tsan_acquire(address);
}
TsanIgnore::TsanIgnore() {
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
}
TsanIgnore::~TsanIgnore() {
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
}
#else
void tsan_release(void*) {}
void tsan_acquire(void*) {}
TsanIgnore::TsanIgnore() {}
TsanIgnore::~TsanIgnore() {}
#endif

}  // namespace zeroth::simt
