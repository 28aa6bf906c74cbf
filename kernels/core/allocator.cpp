#include "kernels/core/allocator.h"

#include <algorithm>

#include "kernels/core/error.h"

namespace zeroth {

namespace {
constexpr std::size_t kAlignment = 256;

/// Sizes are rounded up to one of eight steps per power of two, so that nearly equal requests share blocks.
std::size_t size_class(std::size_t bytes) {
  std::size_t step = kAlignment;
  while (step * 16 < bytes) step *= 2;
  return std::max(kAlignment, (bytes + step - 1) / step * step);
}
}  // namespace

Allocator::Allocator(Device device) : device_(device), backend_(backend(device.kind)) {}

void Allocator::release_cached() noexcept {
  for (auto& [bytes, first] : free_) {
    while (first != nullptr) {
      Block* block = first;
      first = block->next_free;
      reserved_ -= bytes;
      blocks_.erase(block->memory.data());
    }
  }
}

Allocator::Block& Allocator::new_block(std::size_t bytes) {
  free_.try_emplace(bytes, nullptr);
  DeviceMemory memory(backend_, device_.index, bytes);
  const void* data = memory.data();
  Block& block = blocks_.emplace(data, Block{std::move(memory), bytes, false, nullptr}).first->second;
  reserved_ += bytes;
  return block;
}

void* Allocator::allocate_block(std::size_t bytes) {
  const std::size_t size = size_class(bytes);
  Block* block;
  if (const auto found = free_.find(size); found != free_.end() && found->second != nullptr) {
    block = found->second;
    found->second = block->next_free;
  } else {
    try {
      block = &new_block(size);
    } catch (const OutOfMemory&) {
      // Blocks that wait for their size class may hold what is missing.
      if (in_use_ == reserved_) throw;
      release_cached();
      block = &new_block(size);
    }
  }
  block->in_use = true;
  in_use_ += size;
  peak_ = std::max(peak_, in_use_);
  return block->memory.data();
}

void* Allocator::allocate(std::size_t bytes) {
  if (phase_ == Phase::replaying)
    if (const std::optional<std::size_t> offset = plan_->allocate(bytes)) return plan_block_ + *offset;
  void* data = allocate_block(bytes);
  if (phase_ == Phase::recording) plan_->record_allocation(data, bytes);
  return data;
}

void Allocator::release(void* data) noexcept {
  const auto found = blocks_.find(data);
  if (found == blocks_.end() || data == plan_block_) {
    // The plan's block holds tensors of a replayed step, the first of them at its own address.
    if (plan_block_ == nullptr || data < plan_block_ || data >= plan_block_ + plan_->bytes()) return;
    plan_->release(static_cast<std::size_t>(static_cast<std::byte*>(data) - plan_block_));
    return;
  }
  Block& block = found->second;
  if (!block.in_use) return;
  if (phase_ == Phase::recording) plan_->record_release(data);
  block.in_use = false;
  Block*& first = free_.find(block.bytes)->second;
  block.next_free = std::exchange(first, &block);
  in_use_ -= block.bytes;
}

void Allocator::begin_recording() {
  drop_plan();
  plan_.emplace();
  phase_ = Phase::recording;
}

void Allocator::end_recording() {
  require(phase_ == Phase::recording, "a memory plan ends that was not begun");
  phase_ = Phase::plain;
  Arena plan = *std::exchange(plan_, std::nullopt);
  plan.pack();
  // What the recorded step used lies in the free lists now, and is what the block is to be made of.
  release_cached();
  if (plan.bytes() > 0) plan_block_ = static_cast<std::byte*>(allocate_block(plan.bytes()));
  plan_ = std::move(plan);
}

void Allocator::begin_replay() {
  require(phase_ == Phase::plain && plan_.has_value(), "a step is replayed that was not recorded");
  phase_ = Phase::replaying;
  plan_->begin_replay();
}

bool Allocator::end_replay() {
  require(phase_ == Phase::replaying, "a replay ends that was not begun");
  phase_ = Phase::plain;
  plan_->end_replay();
  return plan_->deviation().empty();
}

void Allocator::drop_plan() {
  if (!plan_) return;
  require(plan_->in_use() == 0, "a memory plan is given up while tensors lie in its block");
  phase_ = Phase::plain;
  plan_.reset();
  release(std::exchange(plan_block_, nullptr));
}

}  // namespace zeroth
