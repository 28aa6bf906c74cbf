#include "kernels/core/context.h"

#include <fmt/format.h>

#include "kernels/core/operation_table.h"

namespace zeroth {

Context::Context(Device device)
    : device_(device),
      backend_(&backend(device.kind)),
      stream_(*backend_, device.index),
      allocator_(std::make_unique<Allocator>(device)) {}

Context::~Context() {
  try {  // what is queued may still use what is destroyed here
    synchronize();
  } catch (const Error&) {  // a failed device has nothing queued any more
  }
  states_.clear();
}

Workspace Context::scratch(std::size_t bytes) {
  if (bytes > scratch_.bytes) {
    if (scratch_.data != nullptr) allocator_->release(scratch_.data);
    scratch_ = {};
    scratch_ = {allocator_->allocate(bytes), bytes};
  }
  return scratch_;
}

void Context::upload(TensorView to, std::span<const std::byte> from) {
  require(from.size() == to.bytes(), "an upload needs a value of the tensor's size");
  if (staging_ == nullptr) staging_ = std::make_unique<StagingRing>(*backend_, device_.index);
  staging_->upload(to.data, from, stream());
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
