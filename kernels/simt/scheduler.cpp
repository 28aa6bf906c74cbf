// Runs the threads of a block on fibers. A thread runs until it blocks; only then does another fiber start
// the next thread, so a kernel without barriers runs all its threads on one fiber, with no switch between
// them. Once released, threads go on in the chosen order. Built without thread sanitizer, which must see a
// kernel's accesses and not the harness's.

#include "kernels/simt/scheduler.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <new>
#include <numeric>
#include <utility>

#include "kernels/core/error.h"

namespace zeroth::simt {

constinit thread_local ThreadView now{};

namespace {

/// Thrown out of a suspended thread's barrier to unwind its stack after another thread has failed.
struct Unwind {};

constexpr std::uint64_t kYieldLimit = 10'000'000;

// Equal names may be two objects, one for each translation unit.
bool same(const char* a, const char* b) {
  return a == b || std::strcmp(a, b) == 0;
}
bool same(Site a, Site b) {
  return a.line == b.line && same(a.file, b.file);
}

void set(BuiltinIndex& index, uint3 value) {
  ::new (&index) BuiltinIndex{value.x, value.y, value.z};
}

uint3 unflatten(std::uint64_t rank, uint3 extents) {
  return {static_cast<unsigned>(rank % extents.x), static_cast<unsigned>(rank / extents.x % extents.y),
          static_cast<unsigned>(rank / extents.x / extents.y)};
}

}  // namespace

std::uint32_t OrderGenerator::below(std::uint32_t bound) {
  std::uint64_t z = state_ += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return static_cast<std::uint32_t>(((z >> 32) * bound) >> 32);
}

Scheduler::Scheduler() = default;

namespace {
thread_local std::unique_ptr<Scheduler> owner;
constinit thread_local Scheduler* of_thread =
    nullptr;  // without the check for first use that `owner` carries
}  // namespace

Scheduler& Scheduler::of_this_thread() {
  if (of_thread == nullptr) [[unlikely]] {
    owner = std::make_unique<Scheduler>();
    of_thread = owner.get();
  }
  return *of_thread;
}

// ---- blocks
// -------------------------------------------------------------------------------------------------------

void Scheduler::run(const LaunchRequest& request) {
  struct Active {
    Scheduler& scheduler;
    ~Active() { scheduler.request_ = nullptr; }
  } active{*this};
  request_ = &request;
  setting_ = thread_order();
  generator_ = OrderGenerator(setting_.seed);
  adopt_current(host_);
  tsan_release(&launch_begin_);
  const std::uint64_t blocks = std::uint64_t{request.grid.x} * request.grid.y * request.grid.z;
  threads_ = request.block.x * request.block.y * request.block.z;
  set(now.block_extents, request.block);
  set(now.grid_extents, request.grid);
  if constexpr (kFiberPerThread)
    fibers_.numbered(threads_ - 1);  // made here, not by the fibers: they would race
  for (unsigned rank = 0; rank < threads_; ++rank) thread_[rank].index = unflatten(rank, now.block_extents);
  // A stride that shares no factor with the number of blocks visits each of them once, in an order of no
  // pattern that a kernel could rely on.
  std::uint64_t stride = 1, offset = 0;
  if (setting_.order == Order::random && blocks > 1 && blocks <= 0xffffffffu) {
    offset = generator_.below(static_cast<std::uint32_t>(blocks));
    do {
      stride = 1 + generator_.below(static_cast<std::uint32_t>(blocks));
    } while (std::gcd(stride, blocks) != 1);
  }
  for (std::uint64_t i = 0; i < blocks; ++i) {
    const std::uint64_t block =
        setting_.order == Order::forward
            ? i
            : (setting_.order == Order::reverse ? blocks - 1 - i : (offset + i * stride) % blocks);
    start_block(block);
    if (Fiber* first = next_fiber()) switch_to(host_, *first);
    while (exited_ < threads_ && !failure_ && release_past_exited()) switch_to(host_, *next_fiber());
    finish_block();
  }
  tsan_acquire(&launch_end_);
}

void Scheduler::start_block(std::uint64_t block) {
  set(now.block_index, unflatten(block, now.grid_extents));
  exited_ = started_ = ready_head_ = ready_count_ = 0;
  barrier_arrived_ = barrier_votes_ = 0;
  unwinding_ = false;
  failure_ = nullptr;
  yields_ = 0;
  ++block_serial_;
  for (unsigned rank = 0; rank < threads_; ++rank) {
    thread_[rank].state = ThreadState::unstarted;
    start_order_[rank] = rank;
  }
  arrange(start_order_.data(), threads_);
  for (unsigned first = 0; first < threads_; first += kWarp) {
    Warp& warp = warps_[first / kWarp];
    const unsigned lanes = std::min(kWarp, threads_ - first);
    warp.existing = lanes == kWarp ? 0xffffffffu : (1u << lanes) - 1;
    warp.exited = 0;
  }
  shared_.begin_block(request_->shared_bytes, request_->site);
}

void Scheduler::finish_block() {
  if (!failure_ && exited_ < threads_) {
    try {
      report_stall();
    } catch (...) {
      failure_ = std::current_exception();
    }
  }
  if (failure_) {
    unwind_all();
    tsan_acquire(&launch_end_);
    for (Warp& warp : warps_)
      for (Gathering& gathering : warp.gatherings) gathering.arrived = 0;
    std::rethrow_exception(std::exchange(failure_, nullptr));
  }
  if (const std::string problem = shared_.end_block(); !problem.empty()) fail(problem);
}

/// Puts ranks, given in ascending order, into the chosen order.
void Scheduler::arrange(unsigned* ranks, unsigned count) {
  if (setting_.order == Order::reverse) std::reverse(ranks, ranks + count);
  if (setting_.order == Order::random)
    for (unsigned i = count; i > 1; --i) std::swap(ranks[i - 1], ranks[generator_.below(i)]);
}

/// Resumes every suspended thread with an exception, so that destructors run and the fibers become idle.
void Scheduler::unwind_all() {
  unwinding_ = true;
  for (unsigned rank = 0; rank < threads_; ++rank) {
    const ThreadState state = thread_[rank].state;
    if (state == ThreadState::unstarted || state == ThreadState::exited) continue;
    resume(rank);
    switch_to(host_, *thread_[rank].fiber);
  }
}

// ---- fibers
// -------------------------------------------------------------------------------------------------------

void fiber_main(Fiber& fiber) {
  Scheduler& scheduler = Scheduler::of_this_thread();
  for (;;) {
    if constexpr (kFiberPerThread) {
      // Which thread this fiber plays changes from block to block: so accesses by equal ranks of two blocks,
      // which a device runs at once, are accesses by different fibers.
      const unsigned rank =
          static_cast<unsigned>((fiber.number + scheduler.block_serial_) % scheduler.threads_);
      scheduler.run_thread(fiber, rank);
    } else {
      while (!scheduler.unwinding_ && scheduler.ready_count_ == 0 &&
             scheduler.started_ < scheduler.threads_ && !scheduler.failure_)
        scheduler.run_thread(fiber, scheduler.start_order_[scheduler.started_++]);
      scheduler.fibers_.give_back(fiber);
    }
    Fiber* next = scheduler.next_fiber();
    scheduler.switch_to(fiber, next == nullptr ? scheduler.host_ : *next);
  }
}

void Scheduler::run_thread(Fiber& fiber, unsigned rank) {
  Thread& thread = thread_[rank];
  thread.fiber = &fiber;
  resume(rank);
  tsan_acquire(&launch_begin_);
  try {
    request_->invoke(request_->arguments);
  } catch (const Unwind&) {
  } catch (...) {
    if (!failure_) failure_ = std::current_exception();
  }
  tsan_release(&launch_end_);
  thread.state = ThreadState::exited;
  warps_[rank / kWarp].exited |= 1u << (rank % kWarp);
  ++exited_;
}

void Scheduler::resume(unsigned rank) {
  rank_ = rank;
  thread_[rank].state = ThreadState::running;
  set(now.thread_index, thread_[rank].index);
}

Fiber* Scheduler::next_fiber() {
  if (failure_ || unwinding_) return nullptr;
  if (ready_count_ > 0) {
    const unsigned rank = ready_[ready_head_];
    ready_head_ = (ready_head_ + 1) % kMaxBlockThreads;
    --ready_count_;
    resume(rank);
    return thread_[rank].fiber;
  }
  return started_ < threads_ ? &fresh_fiber() : nullptr;
}

/// The fiber that will run the next thread that has not started.
Fiber& Scheduler::fresh_fiber() {
  if constexpr (kFiberPerThread) {
    const unsigned rank = start_order_[started_++];
    return fibers_.numbered(static_cast<unsigned>((rank + threads_ - block_serial_ % threads_) % threads_));
  }
  return fibers_.take();
}

void Scheduler::switch_to(Fiber& from, Fiber& to) {
  if (&from == &to) return;
  ++switches_;
  switch_fiber(from, to);
}

void Scheduler::suspend() {
  Thread& self = thread_[rank_];
  Fiber* next = next_fiber();
  switch_to(*self.fiber, next == nullptr ? host_ : *next);
  if (unwinding_) throw Unwind{};
}

void Scheduler::push_ready(unsigned rank) {
  thread_[rank].state = ThreadState::ready;
  ready_[(ready_head_ + ready_count_++) % kMaxBlockThreads] = rank;
}

void Scheduler::yield(Site site) {
  if (++yields_ > kYieldLimit)
    fail("a loop at " + to_string(site) + " waits for another thread and never ends");
  if (ready_count_ == 0 && started_ == threads_) return;
  // A thread that has not started may be the one that is waited for.
  Thread& self = thread_[rank_];
  Fiber* fresh = started_ < threads_ ? &fresh_fiber() : nullptr;
  push_ready(rank_);
  Fiber* next = fresh != nullptr ? fresh : next_fiber();
  switch_to(*self.fiber, next != nullptr ? *next : host_);
  if (unwinding_) throw Unwind{};
}

// ---- barriers
// -----------------------------------------------------------------------------------------------------

/// Kept out of block_barrier(), whose frame lies on the stack of every thread that waits.
[[gnu::noinline]] void Scheduler::release_barrier() {
  barrier_result_[barrier_phase_] = barrier_votes_;
  barrier_phase_ ^= 1;
  barrier_arrived_ = barrier_votes_ = 0;
  std::array<unsigned, kMaxBlockThreads> ranks;
  std::iota(ranks.begin(), ranks.begin() + threads_, 0u);
  arrange(ranks.data(), threads_);
  for (unsigned i = 0; i < threads_; ++i) push_ready(ranks[i]);
}

int Scheduler::block_barrier(const char* name, BarrierVote vote, bool predicate, Site site) {
  Thread& self = thread_[rank_];
  const unsigned phase = barrier_phase_;
  if (barrier_arrived_ == 0) {
    barrier_first_ = rank_;
  } else if (const Thread& first = thread_[barrier_first_];
             !same(first.site, site) || !same(first.waits_for, name)) {
    report_divergence(name, site);
  }
  self.waits_for = name;
  self.site = site;
  barrier_votes_ += predicate ? 1 : 0;
  self.state = ThreadState::at_barrier;
  tsan_release(&barrier_sync_[phase]);
  if (++barrier_arrived_ == threads_) release_barrier();
  suspend();
  tsan_acquire(&barrier_sync_[phase]);
  const unsigned votes = barrier_result_[phase];
  switch (vote) {
    case BarrierVote::none:
      return 0;
    case BarrierVote::count:
      return static_cast<int>(votes);
    case BarrierVote::all:
      return votes == threads_;
    case BarrierVote::any:
      return votes != 0;
  }
  return 0;
}

/// Where lanes with this mask gather: where others of the same mask wait, or a place of no lanes; one that
/// had the same mask before, if there is one.
Gathering& Warp::gathering_of(std::uint32_t mask) {
  Gathering* free = nullptr;
  for (Gathering& gathering : gatherings) {
    if (gathering.mask == mask) return gathering;
    if (gathering.arrived == 0 && free == nullptr) free = &gathering;
    if (gathering.mask == 0) break;
  }
  return *free;
}

void Scheduler::warp_collective(const Collective& collective, std::uint32_t mask, void* data, Site site) {
  Thread& self = thread_[rank_];
  Warp& warp = warps_[rank_ / kWarp];
  const unsigned lane = rank_ % kWarp, first_rank = rank_ - lane;
  const auto quote = [&] { return std::string(collective.name) + " at " + to_string(site); };
  if ((mask >> lane & 1) == 0)
    fail(quote() + ": thread " + to_string(self.index) + " calls it and is not in its mask");
  if (collective.absent_lanes) mask &= warp.existing;
  if ((mask & ~warp.existing) != 0)
    fail(quote() + ": its mask names lane " + std::to_string(std::countr_zero(mask & ~warp.existing)) +
         ", which the block's last warp does not have");
  Gathering& gathering = warp.gathering_of(mask);
  if (gathering.arrived == 0) {
    gathering.mask = mask;
    gathering.collective = collective;
    gathering.site = site;
  } else if (!same(gathering.site, site) || !same(gathering.collective.name, collective.name)) {
    const unsigned other = static_cast<unsigned>(std::countr_zero(gathering.arrived));
    fail("lanes of a warp meet at different places: thread " + to_string(self.index) + " is at " + quote() +
         " with mask " + hex(mask) + ", " + describe(first_rank + other));
  }
  self.waits_for = collective.name;
  self.site = site;
  self.mask = mask;
  self.state = ThreadState::in_collective;
  warp.data[lane] = data;
  gathering.arrived |= 1u << lane;
  char& sync = gathering.sync[gathering.generation % 2];
  if (collective.orders_memory) tsan_release(&sync);
  if (gathering.arrived == mask) release_gathering(warp, gathering, first_rank);
  suspend();
  if (collective.orders_memory) tsan_acquire(&sync);
}

void Scheduler::release_gathering(Warp& warp, Gathering& gathering, unsigned first_rank) {
  std::array<unsigned, kWarp> ranks;
  std::array<void*, kWarp> data{};
  unsigned count = 0;
  for (std::uint32_t rest = gathering.arrived; rest != 0; rest &= rest - 1) {
    const unsigned lane = static_cast<unsigned>(std::countr_zero(rest));
    ranks[count++] = first_rank + lane;
    data[lane] = warp.data[lane];
  }
  const Collective& collective = gathering.collective;
  if (collective.completion != nullptr)
    collective.completion(data.data(), gathering.arrived, collective.name, gathering.site);
  gathering.arrived = 0;
  ++gathering.generation;
  arrange(ranks.data(), count);
  for (unsigned i = 0; i < count; ++i) push_ready(ranks[i]);
}

/// CUDA lets a mask name lanes that have returned: such a collective is complete once the others have
/// arrived.
bool Scheduler::release_past_exited() {
  bool released = false;
  for (unsigned first = 0; first < threads_; first += kWarp) {
    Warp& warp = warps_[first / kWarp];
    for (Gathering& gathering : warp.gatherings) {
      if (gathering.arrived == 0 || !gathering.collective.exited_lanes) continue;
      if ((gathering.mask & ~gathering.arrived & ~warp.exited) != 0) continue;
      release_gathering(warp, gathering, first);
      released = true;
    }
  }
  return released;
}

}  // namespace zeroth::simt
