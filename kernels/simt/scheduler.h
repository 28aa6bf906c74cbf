#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "kernels/simt/fiber.h"
#include "kernels/simt/runtime.h"
#include "kernels/simt/shared_memory.h"

namespace zeroth::simt {

inline constexpr unsigned kWarp = 32;
inline constexpr unsigned kMaxBlockThreads = 1024;

/// A small generator for thread orders (SplitMix64; Steele, Lea and Flood, OOPSLA 2014).
class OrderGenerator {
 public:
  explicit OrderGenerator(std::uint64_t seed) : state_(seed) {}
  std::uint32_t below(std::uint32_t bound);

 private:
  std::uint64_t state_;
};

enum class ThreadState : std::uint8_t { unstarted, ready, running, at_barrier, in_collective, exited };

/// A CUDA thread of the running block.
struct Thread {
  ThreadState state = ThreadState::unstarted;
  Fiber* fiber = nullptr;           // where it is suspended
  uint3 index{};                    // threadIdx
  const char* waits_for = nullptr;  // name of the barrier or collective it waits at
  Site site;                        // and its line
  std::uint32_t mask = 0;           // lanes of that collective
};

/// Lanes gathering for a warp collective. A warp has as many at once as there are disjoint masks.
struct Gathering {
  std::uint32_t mask = 0;     // of the collective, or of the last one that was here; 0: none yet
  std::uint32_t arrived = 0;  // 0: free
  Collective collective{};
  Site site;
  unsigned generation = 0;
  std::array<char, 2> sync{};  // addresses that stand for the gathering's order of memory; alternating
};

struct Warp {
  std::uint32_t existing = 0, exited = 0;
  std::array<Gathering, kWarp> gatherings;  // as many as there are lanes to wait in
  std::array<void*, kWarp> data{};

  Gathering& gathering_of(std::uint32_t mask);
};

/// Runs the blocks of one launch at a time on fibers. One per OS thread.
class Scheduler {
 public:
  static Scheduler& of_this_thread();
  Scheduler();

  void run(const LaunchRequest& request);

  // Called from fibers.
  int block_barrier(const char* name, BarrierVote vote, bool predicate, Site site);
  void warp_collective(const Collective& collective, std::uint32_t mask, void* data, Site site);
  void yield(Site site);
  unsigned rank() const { return rank_; }
  const Warp& warp() const { return warps_[rank_ / kWarp]; }
  SharedMemory& shared() { return shared_; }
  bool active() const { return request_ != nullptr; }
  std::uint64_t switches() const { return switches_; }

  /// An Error(runtime) for the running kernel: `what`, then kernel, launch line and block.
  [[noreturn]] void fail(const std::string& what) const;
  /// The same, raised when the running thread next blocks or returns: for callers that an exception cannot
  /// cross.
  void note_failure(const std::string& what);
  /// "kernel K, launched at F:L, block (x, y, z)"
  std::string where() const;

 private:
  friend void fiber_main(Fiber& fiber);

  void start_block(std::uint64_t block);
  void finish_block();
  void run_thread(Fiber& fiber, unsigned rank);
  void arrange(unsigned* ranks, unsigned count);
  void push_ready(unsigned rank);
  void release_barrier();
  void release_gathering(Warp& warp, Gathering& gathering, unsigned first_rank);
  /// Suspends the running thread and runs another; returns when the thread is resumed. Throws when it is
  /// unwound.
  void suspend();
  /// The fiber to run next; null when only the scheduler itself can go on.
  Fiber* next_fiber();
  Fiber& fresh_fiber();
  void switch_to(Fiber& from, Fiber& to);
  void resume(unsigned rank);
  bool release_past_exited();
  void unwind_all();
  [[noreturn]] void report_stall();
  [[noreturn]] void report_divergence(const char* name, Site site);
  std::string describe(unsigned rank) const;

  const LaunchRequest* request_ = nullptr;
  OrderSetting setting_;
  OrderGenerator generator_{0};
  SharedMemory shared_;
  FiberPool fibers_;
  Fiber host_;  // the context that called run()

  unsigned threads_ = 0, rank_ = 0, exited_ = 0, started_ = 0;
  std::array<Thread, kMaxBlockThreads> thread_;
  std::array<Warp, kMaxBlockThreads / kWarp> warps_;
  std::array<unsigned, kMaxBlockThreads> start_order_{};
  std::array<unsigned, kMaxBlockThreads> ready_{};  // a ring
  unsigned ready_head_ = 0, ready_count_ = 0;

  unsigned barrier_arrived_ = 0, barrier_votes_ = 0, barrier_phase_ = 0, barrier_first_ = 0;
  std::array<unsigned, 2> barrier_result_{};
  std::array<char, 2> barrier_sync_{};
  char launch_begin_ = 0, launch_end_ = 0;

  std::uint64_t block_serial_ = 0, switches_ = 0, yields_ = 0;
  bool unwinding_ = false;
  std::exception_ptr failure_;
};

std::string to_string(Site site);
std::string to_string(uint3 index);
std::string hex(std::uint32_t mask);
/// The name of a function, demangled, from the executable's symbol table; its address where there is none.
std::string function_name(const void* function);

}  // namespace zeroth::simt
