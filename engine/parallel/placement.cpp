#include "engine/parallel/placement.h"

#include <fmt/format.h>

#include <algorithm>

namespace zeroth {

namespace {

bool of_weights(const Chunk& chunk) {
  return chunk.parameters.front()->group == ParameterGroup::weight;
}

/// The most that any `neighbours` chunks of weights one behind the other take, of those that `counts`.
template <class Counts>
std::int64_t most_of(const std::vector<Chunk>& chunks, std::size_t neighbours, Counts&& bytes_of) {
  std::int64_t most = 0;
  for (std::size_t first = 0; first < chunks.size(); ++first) {
    std::int64_t sum = 0;
    for (std::size_t i = first; i < std::min(first + neighbours, chunks.size()); ++i)
      if (of_weights(chunks[i])) sum += bytes_of(chunks[i]);
    most = std::max(most, sum);
  }
  return most;
}

/// Deep networks have many small layers: backward should have several chunks to send while it goes on, and
/// each be large enough to be worth a collective. Where values are gathered, three chunks are there at a
/// time.
std::int64_t usual_chunk_bytes(const ParameterStore& store, DType working, Sharing sharing) {
  constexpr std::int64_t kLeast = 256 << 10, kMost = 25 << 20;
  const std::int64_t all = store.count() * static_cast<std::int64_t>(size_of(working));
  return std::clamp(all / (sharing == Sharing::values ? 16 : 8), kLeast, kMost);
}

std::string in_words(std::int64_t bytes) {
  return fmt::format("{:.2f} MB", static_cast<double>(bytes) / 1e6);
}

}  // namespace

StateBytes state_bytes(const ParameterStore& store, int moments) {
  const Residency& residency = store.residency();
  const DType wide = statistics_dtype(store.working_dtype());
  const auto size = [](DType dtype) { return static_cast<std::int64_t>(size_of(dtype)); };
  const bool mixed = wide != store.working_dtype(), offloads = residency.offload != Offload::nothing;
  const std::int64_t own = store.shares() ? store.elements() / residency.ranks : store.elements();
  const auto seen = [&](const Chunk& chunk) {
    return chunk.elements() * size(chunk.working ? store.working_dtype() : wide);
  };
  StateBytes bytes;
  // The flat buffers.
  const std::int64_t working = mixed ? own * size(store.working_dtype()) : 0;
  const bool values_are_read = !mixed && !store.shares() && !offloads;
  (offloads ? bytes.on_host : values_are_read ? bytes.values : bytes.optimizer) += own * size(wide);
  (offloads ? bytes.on_host : bytes.optimizer) += moments * own * size(wide);
  (offloads ? bytes.on_host : bytes.values) += working;
  bytes.gradients = own * size(wide) + working;
  if (offloads) bytes.on_host += bytes.gradients;  // where the CPU reads them
  // The chunks.
  if (store.shares() || offloads)
    for (const Chunk& chunk : store.chunks()) {
      if (!chunk.shares_values)
        bytes.values += seen(chunk);
      else if (residency.offload == Offload::optimizer)
        bytes.values += seen(chunk) / residency.ranks;
    }
  bytes.values +=
      most_of(store.chunks(), 3, [&](const Chunk& chunk) { return chunk.shares_values ? seen(chunk) : 0; });
  if (residency.sharing == Sharing::optimizer_state)
    for (const Chunk& chunk : store.chunks()) bytes.gradients += seen(chunk);
  if (residency.sharing >= Sharing::gradients) {
    bytes.gradients += most_of(store.chunks(), 2, seen);
    for (const Chunk& chunk : store.chunks())
      if (!of_weights(chunk)) bytes.gradients += seen(chunk);  // open until the end
  }
  return bytes;
}

Residency place_parameters(ParameterStore& store, DType working, int rank, int ranks,
                           const PlacementWish& wish) {
  Residency residency{rank, ranks, wish.sharing, 0, wish.shared_values.value_or(0.0), wish.offload};
  residency.chunk_bytes = wish.chunk_bytes.value_or(usual_chunk_bytes(store, working, wish.sharing));
  store.lay_out(working, residency);
  const auto weights = std::count_if(store.chunks().begin(), store.chunks().end(), of_weights);
  const auto takes = [&] { return state_bytes(store, wish.moments).on_device(); };
  if (!wish.shared_values && wish.budget)
    for (std::int64_t shared = 1; takes() > *wish.budget && shared <= weights; ++shared) {
      residency.shared_values = static_cast<double>(shared) / static_cast<double>(weights);
      store.lay_out(working, residency);
    }
  if (wish.budget && takes() > *wish.budget)
    fail(ErrorKind::usage,
         fmt::format(
             "weights, gradients and the optimizer's state take {} on each of {} rank{}, more than "
             "--memory-budget {}: share more of them (--parallel zero1, zero2, gemini), on more ranks, "
             "or --offload them",
             in_words(takes()), ranks, ranks == 1 ? "" : "s", in_words(*wish.budget)));
  return residency;
}

}  // namespace zeroth
