// The functions kernels call, and the checks of a launch.

#include "kernels/simt/runtime.h"

#include <atomic>
#include <bit>
#include <charconv>
#include <cstdlib>
#include <cstring>

#include "kernels/core/error.h"
#include "kernels/simt/scheduler.h"
#include "kernels/simt/warp.h"

namespace zeroth::simt {

namespace {

OrderSetting order_from_environment() {
  const char* value = std::getenv("ZEROTH_SIMT_ORDER");
  if (value == nullptr || *value == '\0' || std::strcmp(value, "forward") == 0) return {};
  if (std::strcmp(value, "reverse") == 0) return {Order::reverse, 1};
  if (std::strcmp(value, "random") == 0) return {Order::random, 1};
  OrderSetting setting{Order::random, 1};
  if (std::strncmp(value, "random:", 7) == 0) {
    const char* end = value + std::strlen(value);
    const auto [rest, status] = std::from_chars(value + 7, end, setting.seed);
    if (status == std::errc() && rest == end) return setting;
  }
  throw Error(ErrorKind::usage, std::string("ZEROTH_SIMT_ORDER is '") + value +
                                    "', expected forward, reverse, random or random:SEED");
}

struct SharedSetting {
  std::atomic<Order> order;
  std::atomic<std::uint64_t> seed;
  explicit SharedSetting(OrderSetting from) : order(from.order), seed(from.seed) {}
};

SharedSetting& shared_setting() {
  static SharedSetting setting(order_from_environment());
  return setting;
}

/// The scheduler that runs the calling kernel.
Scheduler& scheduler(const char* what, Site site) {
  Scheduler& running = Scheduler::of_this_thread();
  if (!running.active())
    throw Error(ErrorKind::runtime,
                std::string("simt: ") + what + " at " + to_string(site) + " outside a kernel");
  return running;
}

}  // namespace

void set_thread_order(Order order, std::uint64_t seed) {
  shared_setting().order = order;
  shared_setting().seed = seed;
}

OrderSetting thread_order() {
  return {shared_setting().order, shared_setting().seed};
}

std::uint64_t switches() {
  return Scheduler::of_this_thread().switches();
}

int block_barrier(const char* name, BarrierVote vote, bool predicate, Site site) {
  return scheduler(name, site).block_barrier(name, vote, predicate, site);
}

void warp_collective(const Collective& collective, std::uint32_t mask, void* data, Site site) {
  scheduler(collective.name, site).warp_collective(collective, mask, data, site);
}

int lane_index() {
  return static_cast<int>(thread_rank() % kWarp);
}

unsigned thread_rank() {
  return scheduler("a lane", {}).rank();
}

std::uint32_t live_lanes() {
  const Warp& warp = scheduler("__activemask", {}).warp();
  return warp.existing & ~warp.exited;
}

void yield(Site site) {
  scheduler("yield", site).yield(site);
}

void fail_in_kernel(const char* what, Site site) {
  scheduler(what, site)
      .fail(std::string(what) + " at " + to_string(site) + ", thread " + to_string(now.thread_index));
}

// One address for all fences: what precedes any fence happened before what follows a later one. Finer is not
// needed to accept correct programs.
void memory_fence() {
  static char fence;
  tsan_acquire(&fence);
  tsan_release(&fence);
}

void* shared_array(const SharedDeclaration& declaration) {
  Scheduler& running = scheduler("shared array", declaration.site);
  std::string problem;
  void* data = running.shared().array(declaration, problem);
  if (data == nullptr) running.fail(problem);
  return data;
}

void* dynamic_shared_memory() {
  return scheduler("dynamic shared memory", {}).shared().dynamic();
}

void check_launch(const LaunchRequest& request) {
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorKind::runtime, "simt: kernel launch: " + why + " [kernel " +
                                        function_name(request.kernel) + ", launched at " +
                                        to_string(request.site) + "]");
  };
  const dim3 grid = request.grid, block = request.block;
  const std::string extents = "block " + to_string(block) + ", grid " + to_string(grid);
  if (request.kernel == nullptr)
    throw Error(ErrorKind::runtime, "simt: kernel launch: null kernel at " + to_string(request.site));
  if (block.x == 0 || block.y == 0 || block.z == 0 || grid.x == 0 || grid.y == 0 || grid.z == 0)
    refuse("an extent is zero: " + extents);
  if (block.x > 1024 || block.y > 1024 || block.z > 64 ||
      std::uint64_t{block.x} * block.y * block.z > kMaxBlockThreads)
    refuse("more than 1024 threads in a block, or 64 along z: " + extents);
  if (grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
    refuse("more than 2147483647 blocks along x, or 65535 along y or z: " + extents);
  if (request.shared_bytes > SharedMemory::kBlockLimit)
    refuse("dynamic shared memory of " + std::to_string(request.shared_bytes) + " bytes, more than 227 KB");
  if (Scheduler::of_this_thread().active()) refuse("from inside a kernel, which is not supported");
}

void run(const LaunchRequest& request) {
  check_launch(request);
  Scheduler::of_this_thread().run(request);
}

// ---- warp collectives
// ---------------------------------------------------------------------------------------------

int shuffle_source(ShuffleKind kind, int operand, int width, Site site) {
  if (width < 1 || width > warpSize || !std::has_single_bit(static_cast<unsigned>(width)))
    fail_in_kernel("a shuffle whose width is no power of two up to 32", site);
  const int lane = lane_index(), segment = lane & ~(width - 1);
  int source = lane;
  switch (kind) {
    case ShuffleKind::index:
      return segment | (operand & (width - 1));
    case ShuffleKind::up:
      source = lane - operand;
      return source < segment ? lane : source;
    case ShuffleKind::down:
      source = lane + operand;
      break;
    case ShuffleKind::exclusive_or:
      source = lane ^ operand;
      break;
  }
  return source >= segment + width ? lane : source;
}

void complete_shuffle(void* const* lanes, std::uint32_t mask, const char* name, Site site) {
  std::uint64_t value[kWarp] = {};
  for (unsigned lane = 0; lane < kWarp; ++lane)
    if (lanes[lane] != nullptr) value[lane] = static_cast<ShuffleLane*>(lanes[lane])->value;
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if (lanes[lane] == nullptr) continue;
    ShuffleLane& part = *static_cast<ShuffleLane*>(lanes[lane]);
    const auto source = static_cast<unsigned>(part.source);
    if (source >= kWarp || (mask >> source & 1) == 0)
      Scheduler::of_this_thread().fail(std::string(name) + " at " + to_string(site) + ": lane " +
                                       std::to_string(lane) + " reads lane " + std::to_string(part.source) +
                                       ", which is not in mask " + hex(mask));
    part.value = value[source];
  }
}

namespace {

/// A lane's word goes in, the warp's result comes out.
struct WordLane {
  std::uint64_t word;
  ReduceKind kind;
  bool is_signed;
};

void complete_vote(void* const* lanes, std::uint32_t, const char*, Site) {
  std::uint32_t result = 0;
  for (unsigned lane = 0; lane < kWarp; ++lane)
    if (lanes[lane] != nullptr && static_cast<WordLane*>(lanes[lane])->word != 0) result |= 1u << lane;
  for (unsigned lane = 0; lane < kWarp; ++lane)
    if (lanes[lane] != nullptr) static_cast<WordLane*>(lanes[lane])->word = result;
}

void complete_match(void* const* lanes, std::uint32_t, const char*, Site) {
  std::uint32_t equal[kWarp] = {};
  for (unsigned lane = 0; lane < kWarp; ++lane)
    for (unsigned other = 0; other < kWarp; ++other)
      if (lanes[lane] != nullptr && lanes[other] != nullptr &&
          static_cast<WordLane*>(lanes[lane])->word == static_cast<WordLane*>(lanes[other])->word)
        equal[lane] |= 1u << other;
  for (unsigned lane = 0; lane < kWarp; ++lane)
    if (lanes[lane] != nullptr) static_cast<WordLane*>(lanes[lane])->word = equal[lane];
}

std::uint32_t combine(const WordLane& how, std::uint32_t a, std::uint32_t b) {
  const bool less = how.is_signed ? static_cast<std::int32_t>(a) < static_cast<std::int32_t>(b) : a < b;
  switch (how.kind) {
    case ReduceKind::add:
      return a + b;
    case ReduceKind::minimum:
      return less ? a : b;
    case ReduceKind::maximum:
      return less ? b : a;
    case ReduceKind::bit_and:
      return a & b;
    case ReduceKind::bit_or:
      return a | b;
    case ReduceKind::bit_xor:
      return a ^ b;
  }
  return 0;
}

void complete_reduce(void* const* lanes, std::uint32_t mask, const char*, Site) {
  const WordLane& first = *static_cast<WordLane*>(lanes[std::countr_zero(mask)]);
  auto result = static_cast<std::uint32_t>(first.word);
  for (std::uint32_t rest = mask & (mask - 1); rest != 0; rest &= rest - 1)
    result = combine(first, result,
                     static_cast<std::uint32_t>(static_cast<WordLane*>(lanes[std::countr_zero(rest)])->word));
  for (std::uint32_t rest = mask; rest != 0; rest &= rest - 1)
    static_cast<WordLane*>(lanes[std::countr_zero(rest)])->word = result;
}

}  // namespace

std::uint32_t vote(const char* name, std::uint32_t mask, bool predicate, Site site) {
  WordLane lane{predicate ? 1u : 0u, {}, false};
  warp_collective({name, complete_vote, false, true, false}, mask, &lane, site);
  return static_cast<std::uint32_t>(lane.word);
}

std::uint32_t reduce(ReduceKind kind, bool is_signed, std::uint32_t mask, std::uint32_t value, Site site) {
  WordLane lane{value, kind, is_signed};
  warp_collective({"__reduce_sync", complete_reduce, false, true, false}, mask, &lane, site);
  return static_cast<std::uint32_t>(lane.word);
}

std::uint32_t match_any(std::uint32_t mask, std::uint64_t value, Site site) {
  WordLane lane{value, {}, false};
  warp_collective({"__match_any_sync", complete_match, false, true, false}, mask, &lane, site);
  return static_cast<std::uint32_t>(lane.word);
}

void sync_warp(std::uint32_t mask, Site site) {
  warp_collective({"__syncwarp", nullptr, true, true, true}, mask, nullptr, site);
}

}  // namespace zeroth::simt
