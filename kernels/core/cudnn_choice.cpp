// Which of cuDNN's plans for a problem is taken.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "kernels/core/cudnn.h"

namespace zeroth::cudnn {

namespace {

constexpr int kRunsOfGraph = 10;

/// Everything that a choice depends on, so that a record may serve many machines.
std::string record_key(Context& context, const std::string& problem) {
  struct Place {
    std::string text;
  };
  Place& place = context.state<Place>();
  if (place.text.empty()) {
    const std::vector<GpuReport> gpus = report_cuda().gpus;
    const GpuReport& gpu = gpus.at(static_cast<std::size_t>(context.device().index));
    place.text =
        fmt::format("cuDNN {}, {} {}.{}", functions().cudnnGetVersion(), gpu.name, gpu.major, gpu.minor);
  }
  return fmt::format("{}: {}", place.text, problem);
}

/// A plan's runs, one behind the other, as one piece of work where the device can capture them.
class Runs {
 public:
  Runs(Context& context, const Plan& plan, const std::function<void(const Plan&)>& run)
      : context_(&context), queue_([&plan, &run] {
          for (int i = 0; i < kRunsOfGraph; ++i) run(plan);
        }) {
    run(plan);  // what is loaded when it is first used
    context.synchronize();
    if (context.memory().why_no_capture().empty()) graph_.emplace(context.memory(), context.stream(), queue_);
    queue();
    context.synchronize();
  }

  /// Seconds of one run.
  double time() const {
    Event begin(context_->memory(), context_->device().index),
        end(context_->memory(), context_->device().index);
    begin.record(context_->stream());
    queue();
    end.record(context_->stream());
    end.wait();
    return end.milliseconds_since(begin) / (1e3 * kRunsOfGraph);
  }

 private:
  void queue() const {
    if (graph_)
      graph_->launch(context_->stream());
    else
      queue_();
  }

  Context* context_;
  std::function<void()> queue_;
  std::optional<CapturedGraph> graph_;
};

}  // namespace

PlanChoice::PlanChoice(Context& context, std::vector<Candidate> all, const std::string& problem)
    : candidates(std::move(all)) {
  const Target target(handle_of(context));
  PlanRecord* record = context.plan_record();
  if (record != nullptr)
    if (const std::optional<std::string> recorded = record->find(record_key(context, problem))) {
      const auto found = std::find_if(candidates.begin(), candidates.end(), [&](const Candidate& candidate) {
        return describe(candidate.engine_config) == *recorded;
      });
      if (found != candidates.end()) {
        Candidate candidate = std::move(*found);
        candidates.erase(found);
        plan = build_plan(target, std::move(candidate));
      }
    }
  if (!plan && (record == nullptr || context.capturing() || context.stream().synchronous))
    plan = first_plan(target, std::exchange(candidates, {}), problem);
  if (plan) {
    candidates.clear();
    workspace = plan->workspace;
    return;
  }
  for (const Candidate& candidate : candidates) workspace = std::max(workspace, candidate.workspace);
}

void settle(Context& context, PlanChoice& choice, const std::string& problem,
            const std::function<void(const Plan&)>& run) {
  const Target target(handle_of(context));
  std::vector<Candidate> candidates = std::exchange(choice.candidates, {});
  if (context.capturing()) {  // by then it is too late for timing
    choice.plan = first_plan(target, std::move(candidates), problem);
    return;
  }
  std::vector<std::optional<Plan>> plans(candidates.size());
  std::optional<Runs> runs;
  // A candidate that fails when it runs, or cannot be captured, is none.
  std::string last_error;
  const auto works = [&](const auto& attempt) {
    try {
      attempt();
      return true;
    } catch (const Error& error) {
      last_error = fmt::format(", the last because: {}", error.what());
      return false;
    }
  };
  const CandidateTrial trial{
      [&](std::size_t i) {
        runs.reset();
        plans[i] = build_plan(target, std::move(candidates[i]));
        return plans[i] && works([&] { runs.emplace(context, *plans[i], run); });
      },
      [&](std::size_t) -> std::optional<double> {
        double seconds = 0.0;
        return works([&] { seconds = runs->time(); }) ? std::optional(seconds) : std::nullopt;
      },
      [] {
        return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
      }};
  const std::optional<std::size_t> fastest = fastest_candidate(candidates.size(), trial);
  runs.reset();
  if (!fastest)
    fail(ErrorKind::runtime,
         fmt::format("cuDNN: none of {} engines runs {}{}; choose another row with --impl", candidates.size(),
                     problem, last_error));
  choice.plan = std::move(plans[*fastest]);
  context.plan_record()->store(record_key(context, problem), describe(choice.plan->engine_config));
}

}  // namespace zeroth::cudnn
