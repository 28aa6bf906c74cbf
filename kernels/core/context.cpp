#include "kernels/core/context.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "kernels/core/operation_table.h"

namespace zeroth {

struct Context::Scratch {
  Scratch(Allocator& from, std::size_t bytes) : allocator(from), workspace{from.allocate(bytes), bytes} {}
  ~Scratch() { allocator.release(workspace.data); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  Allocator& allocator;
  Workspace workspace;
};

Context::Side::Side(const DeviceBackend& backend, int device_index)
    : stream(backend, device_index, OwnedStream::Kind::side),
      forked(backend, device_index),
      done(backend, device_index) {}

Context::Context(Device device)
    : device_(device),
      backend_(&backend(device.kind)),
      stream_(*backend_, device.index),
      allocator_(std::make_unique<Allocator>(device)),
      forks_(device.kind == DeviceKind::cuda) {}

Context::~Context() {
  try {  // what is queued may still use what is destroyed here
    if (side_ != nullptr) backend_->synchronize(side_->stream.get());
    synchronize();
  } catch (const Error&) {  // a failed device has nothing queued any more
  }
  states_.clear();
}

Workspace Context::scratch(std::size_t bytes) {
  std::shared_ptr<Scratch>& scratch = beside_ ? side_->scratch : scratch_;
  if (bytes == 0 && scratch == nullptr) return {};
  if (scratch == nullptr || bytes > scratch->workspace.bytes) {
    scratch.reset();  // first, so that its memory may serve again
    scratch = std::make_shared<Scratch>(*allocator_, bytes);
  }
  return scratch->workspace;
}

std::shared_ptr<const void> Context::hold_scratch() const {
  using Both = std::pair<std::shared_ptr<Scratch>, std::shared_ptr<Scratch>>;
  return std::make_shared<Both>(scratch_, side_ == nullptr ? nullptr : side_->scratch);
}

// The allocator hands memory out in the order of the stream: what work beside it uses has been queued for
// before the fork, and is released after the join.
Context::Beside::Beside(Context& context) : context_(context) {
  context.join();
  if (!context.forks()) return;
  if (context.side_ == nullptr)
    context.side_ = std::make_unique<Side>(*context.backend_, context.device_.index);
  Side& side = *context.side_;
  side.forked.record(context.stream_.get());
  side.forked.queue_wait(side.stream.get());
  context.beside_ = side.pending = true;
}

Context::Beside::~Beside() {
  context_.beside_ = false;
}

void Context::join() {
  if (side_ == nullptr || !side_->pending) return;
  side_->pending = false;
  side_->done.record(side_->stream.get());
  side_->done.queue_wait(stream_.get());
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
  ++settings_;
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

void fail_row_in_capture(std::string_view operation, const char* row) {
  fail(ErrorKind::runtime,
       fmt::format("{}: the row '{}' computes on the host and cannot be captured", operation, row));
}
}  // namespace detail

}  // namespace zeroth
