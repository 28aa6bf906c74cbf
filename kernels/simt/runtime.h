#pragma once

// What kernels on the host call: barriers, warp collectives, shared memory, launches. Kernels reach these
// functions through CUDA's own names (simt.h); the bodies are in files that are built without thread
// sanitizer.

#include <cstddef>
#include <cstdint>

#include "kernels/simt/language.h"

namespace zeroth::simt {

/// Which thread of a block runs when several could, and which block comes first.
enum class Order : std::uint8_t { forward, reverse, random };

/// Process-wide, for launches that follow. The environment variable ZEROTH_SIMT_ORDER (forward, reverse,
/// random or random:SEED) gives the order at start. `seed` matters to `random` only; equal seeds give equal
/// orders.
void set_thread_order(Order order, std::uint64_t seed = 1);

struct OrderSetting {
  Order order = Order::forward;
  std::uint64_t seed = 1;
};
OrderSetting thread_order();

/// Calls run(setting) under forward, reverse and `random_orders` random orders, and restores the order
/// afterwards. A result that differs between calls is a race.
template <class Run>
void run_in_every_order(Run&& run, int random_orders = 1) {
  struct Restore {
    OrderSetting before = thread_order();
    ~Restore() { set_thread_order(before.order, before.seed); }
  } restore;
  for (int i = 0; i < random_orders + 2; ++i) {
    const OrderSetting setting{i == 0 ? Order::forward : (i == 1 ? Order::reverse : Order::random),
                               static_cast<std::uint64_t>(i)};
    set_thread_order(setting.order, setting.seed);
    run(setting);
  }
}

/// Number of fiber switches this OS thread has made: for tests and measurements.
std::uint64_t switches();

// ---- called by kernels
// --------------------------------------------------------------------------------------------

enum class BarrierVote : std::uint8_t { none, count, all, any };

/// Block barrier; returns the vote over all threads' predicates. Every thread of the block must arrive from
/// the same line; Error(runtime) otherwise.
int block_barrier(const char* name, BarrierVote vote, bool predicate, Site site);

/// What happens once all lanes of a warp collective have arrived. `lanes[i]` is what lane i passed as `data`,
/// null for lanes outside `mask`. Runs in the thread that arrived last, while the others are suspended.
using Completion = void (*)(void* const* lanes, std::uint32_t mask, const char* name, Site site);

struct Collective {
  const char* name;       // as CUDA calls it: part of what must agree between lanes, and of messages
  Completion completion;  // may be null
  bool orders_memory;     // only __syncwarp() does: shuffles and votes are no memory barriers
  bool absent_lanes;      // whether the mask may name lanes that the block's last warp does not have
  bool exited_lanes;      // whether the mask may name lanes that have returned from the kernel
};

/// Waits until all lanes in `mask` have called with the same collective from the same line.
void warp_collective(const Collective& collective, std::uint32_t mask, void* data, Site site);

/// Lane of the running thread in its warp, 0 to 31.
int lane_index();
/// Lanes of the running thread's warp that have not returned from the kernel.
std::uint32_t live_lanes();
/// Memory fence: orders this thread's accesses before it against those after a later fence of another thread.
void memory_fence();
/// Lets other threads of the block run: for loops that wait for another thread's store.
void yield(Site site);
/// Rank of the running thread in its block.
unsigned thread_rank();

[[noreturn]] void fail_in_kernel(const char* what, Site site);

/// A shared array's declaration.
struct SharedDeclaration {
  const char* name;
  Site site;
  std::size_t bytes;
  std::size_t alignment;
};

/// The running block's memory for a declaration: filled with 0xFF bytes (NaN in every floating type) when a
/// thread of the block reaches it first. Throws Error(runtime) when the block's arrays outgrow the limits of
/// an H100.
void* shared_array(const SharedDeclaration& declaration);
void* dynamic_shared_memory();

/// A kernel with its arguments bound.
struct LaunchRequest {
  const void* kernel = nullptr;  // for its name
  void (*invoke)(void* arguments) = nullptr;
  void* arguments = nullptr;
  dim3 grid, block;
  std::size_t shared_bytes = 0;
  Site site;
};

/// Throws Error(runtime), naming the kernel, for dimensions and memory that CUDA refuses.
void check_launch(const LaunchRequest& request);

/// Runs all blocks to completion. Throws Error(runtime), naming the kernel, for dimensions CUDA refuses and
/// for faults found inside it; an exception thrown by the kernel itself comes through after all threads have
/// been unwound.
void run(const LaunchRequest& request);

}  // namespace zeroth::simt
