#include "kernels/core/context.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/core/operation_table.h"

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

Allocator::Allocator(Device device) : device_(device) {}

Allocator::~Allocator() {
  release_cached();
}

void Allocator::release_cached() noexcept {
  for (const auto& [bytes, data] : free_) {
    backend(device_.kind).release(device_.index, data);
    reserved_ -= bytes;
  }
  free_.clear();
}

void* Allocator::allocate(std::size_t bytes) {
  const std::size_t size = size_class(bytes);
  void* data;
  if (const auto block = free_.find(size); block != free_.end()) {
    data = block->second;
    free_.erase(block);
  } else {
    try {
      data = backend(device_.kind).allocate(device_.index, size);
    } catch (const Error&) {
      // Blocks that wait for their size class may hold what is missing.
      if (free_.empty()) throw;
      release_cached();
      data = backend(device_.kind).allocate(device_.index, size);
    }
    reserved_ += size;
  }
  in_use_ += size;
  peak_ = std::max(peak_, in_use_);
  return data;
}

void Allocator::release(void* data, std::size_t bytes) noexcept {
  if (data == nullptr) return;
  const std::size_t size = size_class(bytes);
  in_use_ -= size;
  free_.emplace(size, data);
}

Context::Context(Device device)
    : device_(device),
      backend_(&backend(device.kind)),
      stream_(backend_->create_stream(device.index)),
      allocator_(std::make_unique<Allocator>(device)) {}

Context::~Context() {
  states_.clear();
  if (scratch_.data != nullptr) allocator_->release(scratch_.data, scratch_.bytes);
  allocator_.reset();
  backend_->destroy_stream(stream_);
}

Workspace Context::scratch(std::size_t bytes) {
  if (bytes > scratch_.bytes) {
    if (scratch_.data != nullptr) allocator_->release(scratch_.data, scratch_.bytes);
    scratch_ = {};
    scratch_ = {allocator_->allocate(bytes), bytes};
  }
  return scratch_;
}

void Context::choose_implementation(const std::string& assignment) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == assignment.size())
    fail(ErrorKind::usage, fmt::format("--impl takes OPERATION=ROW, not '{}'", assignment));
  chosen_.insert_or_assign(assignment.substr(0, equals), assignment.substr(equals + 1));
}

const std::string* Context::chosen_implementation(std::string_view operation) const {
  const auto found = chosen_.find(operation);
  return found == chosen_.end() ? nullptr : &found->second;
}

namespace detail {
void fail_no_row(const Context& context, std::string_view operation, const std::string& rows,
                 const std::string& problem) {
  const std::string* chosen = context.chosen_implementation(operation);
  fail(ErrorKind::usage, fmt::format("{}: no row{} takes {} on {}; there are: {}", operation,
                                     chosen == nullptr ? "" : " named '" + *chosen + "'", problem,
                                     name_of(context.device().kind), rows));
}
}  // namespace detail

}  // namespace zeroth
