#include "kernels/core/arena.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace zeroth {

namespace {
constexpr std::size_t kAlignment = 256;
}

void Arena::record_allocation(const void* data, std::size_t bytes) {
  recorded_.insert_or_assign(data, lifetimes_.size());
  lifetimes_.push_back(
      {std::max(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment), position_++, kNone, kNone});
}

void Arena::record_release(const void* data) noexcept {
  const auto found = recorded_.find(data);
  if (found == recorded_.end()) return;
  lifetimes_[found->second].end = position_++;
  recorded_.erase(found);
}

/// Largest first, each at the lowest offset that no lifetime overlapping its own takes: within a few percent
/// of the peak for training steps (Pisarchyk and Lee, Efficient Memory Management for Deep Neural Net
/// Inference, 2020).
void Arena::pack() {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < lifetimes_.size(); ++i)
    if (lifetimes_[i].end != kNone) order.push_back(i);
  kept_ = lifetimes_.size() - order.size();
  recorded_.clear();

  std::vector<std::ptrdiff_t> change(position_, 0);
  for (const std::size_t i : order) {
    change[lifetimes_[i].begin] = static_cast<std::ptrdiff_t>(lifetimes_[i].bytes);
    change[lifetimes_[i].end] = -static_cast<std::ptrdiff_t>(lifetimes_[i].bytes);
  }
  std::ptrdiff_t in_use = 0;
  for (const std::ptrdiff_t bytes : change)
    peak_ = std::max(peak_, static_cast<std::size_t>(in_use += bytes));

  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return lifetimes_[a].bytes > lifetimes_[b].bytes; });
  std::vector<const Lifetime*> placed;  // by offset
  for (const std::size_t i : order) {
    Lifetime& lifetime = lifetimes_[i];
    lifetime.offset = 0;
    for (const Lifetime* other : placed) {
      if (other->end < lifetime.begin || lifetime.end < other->begin) continue;
      if (lifetime.offset + lifetime.bytes <= other->offset) break;
      lifetime.offset = std::max(lifetime.offset, other->offset + other->bytes);
    }
    placed.insert(
        std::upper_bound(placed.begin(), placed.end(), lifetime.offset,
                         [](std::size_t offset, const Lifetime* other) { return offset < other->offset; }),
        &lifetime);
    at_offset_.emplace(lifetime.offset, kNone);
    bytes_ = std::max(bytes_, lifetime.offset + lifetime.bytes);
  }
}

void Arena::begin_replay() noexcept {
  position_ = next_ = 0;
  deviation_ = nullptr;
  if (in_use_ > 0) deviate("begins while {1} tensors of the step before are in use", 0, in_use_);
}

std::optional<std::size_t> Arena::allocate(std::size_t bytes) noexcept {
  if (deviation_ != nullptr) return std::nullopt;
  const std::size_t size = std::max(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  if (next_ == lifetimes_.size()) {
    deviate("allocates {1} bytes where the plan has ended", 0, size);
    return std::nullopt;
  }
  const Lifetime& lifetime = lifetimes_[next_];
  if (lifetime.bytes != size) {
    deviate("allocates {1} bytes where the plan has {0}", lifetime.bytes, size);
    return std::nullopt;
  }
  if (lifetime.begin != position_) {
    deviate("allocates {1} bytes before it has released what the plan releases there", 0, size);
    return std::nullopt;
  }
  const std::size_t index = next_++;
  ++position_;
  if (lifetime.end == kNone) return std::nullopt;
  at_offset_.find(lifetime.offset)->second = index;
  ++in_use_;
  return lifetime.offset;
}

void Arena::release(std::size_t offset) noexcept {
  const auto found = at_offset_.find(offset);
  if (found == at_offset_.end() || found->second == kNone) return;
  const Lifetime& lifetime = lifetimes_[found->second];
  found->second = kNone;
  --in_use_;
  if (deviation_ != nullptr) return;
  if (lifetime.end != position_)
    deviate("releases {1} bytes earlier or later than the plan", 0, lifetime.bytes);
  ++position_;
}

void Arena::end_replay() noexcept {
  if (deviation_ == nullptr && next_ < lifetimes_.size())
    deviate("ends where the plan allocates {0} bytes", lifetimes_[next_].bytes);
  else if (deviation_ == nullptr && in_use_ > 0)
    deviate("ends while {1} of its tensors are in use", 0, in_use_);
}

void Arena::deviate(const char* what, std::size_t expected, std::size_t actual) noexcept {
  deviation_ = what;
  deviation_at_ = next_;
  expected_ = expected;
  actual_ = actual;
}

std::string Arena::deviation() const {
  if (deviation_ == nullptr) return "";
  return fmt::format("the step departs from its memory plan at allocation {} of {}: it {}", deviation_at_,
                     lifetimes_.size(), fmt::format(fmt::runtime(deviation_), expected_, actual_));
}

}  // namespace zeroth
