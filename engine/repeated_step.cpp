#include "engine/repeated_step.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/core/error.h"

namespace zeroth {

const char* name_of(StepMode mode) {
  switch (mode) {
    case StepMode::eager:
      return "eager";
    case StepMode::planned:
      return "planned";
    case StepMode::captured:
      return "captured";
  }
  return "?";
}

RepeatedStep::~RepeatedStep() {
  try {
    if (graph_) context_.synchronize();  // it may be running
    graph_.reset();
    drop_plan();
  } catch (const Error&) {  // a failed device runs nothing any more
  }
}

/// The plan's block goes back to the allocator, unless something still lies in it.
void RepeatedStep::drop_plan() {
  if (!owns_plan_ || context_.allocator().plan()->in_use() > 0) return;
  context_.allocator().drop_plan();
  owns_plan_ = false;
}

void RepeatedStep::settle_for(StepMode mode, const std::string& why) {
  possible_ = std::min(possible_, mode);
  if (wanted_ > mode) notice_ = fmt::format("steps are {}, not {}: {}", name_of(mode), name_of(wanted_), why);
}

void RepeatedStep::begin_anew() {
  if (graph_) context_.synchronize();
  graph_.reset();
  scratch_.reset();
  drop_plan();
  runs_ = 0;
  settings_ = context_.settings();
  notice_.clear();
  possible_ = wanted_;
  if (const std::string why = context_.memory().why_no_capture(); !why.empty())
    settle_for(StepMode::planned, why);
  else if (!why_no_capture_.empty())
    settle_for(StepMode::planned, why_no_capture_);
  else if (context_.stream().synchronous)
    settle_for(StepMode::planned, "--sync-launches waits after every kernel");
  if (context_.allocator().plan() != nullptr)
    settle_for(StepMode::eager, "this context's memory is planned for another step");
}

void RepeatedStep::run(const std::function<void()>& queue) {
  if (runs_ == 0 || settings_ != context_.settings()) begin_anew();
  const int number = ++runs_;
  runs_ = 0;  // where this run throws, the next one begins anew
  if (graph_)
    graph_->launch(context_.stream());
  else
    run_by_hand(queue, number);
  runs_ = number;
  if (possible_ == StepMode::eager) drop_plan();
}

void RepeatedStep::run_by_hand(const std::function<void()>& queue, int number) {
  mode_ = std::min(possible_, number == 1 ? StepMode::eager : StepMode::planned);
  if (possible_ == StepMode::captured && number > 2)
    capture(queue);
  else if (mode_ == StepMode::eager)
    queue();
  else if (number == 2)
    record(queue);
  else
    replay(queue);
}

void RepeatedStep::record(const std::function<void()>& queue) {
  Allocator& allocator = context_.allocator();
  allocator.begin_recording();
  owns_plan_ = true;
  queue();
  allocator.end_recording();
  if (const std::size_t kept = allocator.plan()->kept(); kept > 0)
    settle_for(StepMode::planned, fmt::format("{} of the step's tensors outlive it", kept));
}

/// In planned memory; false where the step departed from the plan, which is then given up.
bool RepeatedStep::replay(const std::function<void()>& queue) {
  Allocator& allocator = context_.allocator();
  allocator.begin_replay();
  try {
    queue();
  } catch (...) {
    static_cast<void>(allocator.end_replay());
    throw;
  }
  if (allocator.end_replay()) return true;
  settle_for(StepMode::eager, allocator.plan()->deviation());
  return false;
}

void RepeatedStep::capture(const std::function<void()>& queue) {
  try {
    bool as_planned = false;
    CapturedGraph graph(context_.memory(), context_.stream(), [&] { as_planned = replay(queue); });
    if (as_planned) graph_.emplace(std::move(graph));
  } catch (const Error& error) {
    settle_for(StepMode::planned, error.what());
  }
  if (graph_) {
    scratch_ = context_.hold_scratch();
    mode_ = StepMode::captured;
    graph_->launch(context_.stream());
  } else {
    replay(queue);
  }
}

}  // namespace zeroth
