#include "kernels/core/context.h"

#include <fmt/format.h>

#include <algorithm>

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
  RowNames names(1);
  if (equals != std::string::npos)
    for (const char letter : assignment.substr(equals + 1)) {
      if (letter == '+')
        names.emplace_back();
      else
        names.back() += letter;
    }
  const bool named = std::none_of(names.begin(), names.end(), [](const auto& name) { return name.empty(); });
  if (equals == 0 || !named)
    fail(ErrorKind::usage,
         fmt::format("--impl takes OPERATION=ROW or OPERATION=ROW+ROW, not '{}'", assignment));
  chosen_.insert_or_assign(assignment.substr(0, equals), std::move(names));
}

const Context::RowNames* Context::chosen_implementation(std::string_view operation) const {
  const auto found = chosen_.find(operation);
  return found == chosen_.end() ? nullptr : &found->second;
}

namespace detail {
void fail_no_row(const Context& context, std::string_view operation, const std::string& rows,
                 const std::string& problem) {
  std::string named;
  if (const Context::RowNames* chosen = context.chosen_implementation(operation))
    for (const std::string& name : *chosen) named += (named.empty() ? " named '" : " or '") + name + "'";
  fail(ErrorKind::usage, fmt::format("{}: no row{} takes {} on {}; there are: {}", operation, named, problem,
                                     name_of(context.device().kind), rows));
}
}  // namespace detail

}  // namespace zeroth
