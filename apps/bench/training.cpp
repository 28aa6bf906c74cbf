#include "apps/bench/training.h"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>

#include "apps/session.h"
#include "data/order.h"
#include "engine/ceilings.h"
#include "engine/trainer.h"
#include "kernels/core/philox.h"
#include "kernels/core/profile_range.h"

namespace zeroth::app {

namespace {

constexpr std::int64_t kSide = 32, kChannels = 3, kClasses = 10, kPictures = 10000;
constexpr int kObservedSteps = 3;

PictureSet random_pictures(Context& context, std::int64_t count) {
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(count * kSide * kSide * kChannels));
  for (std::size_t i = 0; i < pixels.size(); i += 4) {
    const std::uint32_t word = philox(1, 0, i, RandomUse::generate).word[0];
    for (std::size_t k = 0; k < 4; ++k) pixels[i + k] = static_cast<std::uint8_t>(word >> (8 * k));
  }
  std::vector<std::int32_t> labels(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int32_t>(i % kClasses);
  return {Tensor::from_host<std::uint8_t>(context, {count, kSide, kSide, kChannels}, pixels),
          Tensor::from_host<std::int32_t>(context, {count}, labels), kClasses};
}

/// Marks where every operation begins and ends on the stream. What an operation calls in turn is its own.
class OperationClock final : public RangeObserver {
 public:
  explicit OperationClock(Context& context) : context_(context) {}

  void begin(const char* name, const char* row) override {
    const bool outermost = row != nullptr && std::find(open_.begin(), open_.end(), true) == open_.end();
    open_.push_back(outermost);
    if (!outermost) return;
    calls_.push_back({name, row, new_event(), new_event()});
    calls_.back().begin.record(context_.stream());
  }
  void end() override {
    if (open_.back()) calls_.back().end.record(context_.stream());
    open_.pop_back();
  }

  /// Times of one step, longest first, once the stream has been waited for.
  std::vector<OperationTime> times(int steps) const {
    std::map<std::pair<std::string, std::string>, OperationTime> sums;
    for (const Call& call : calls_) {
      OperationTime& sum = sums[{call.operation, call.row}];
      sum.operation = call.operation;
      sum.row = call.row;
      sum.calls += 1.0 / steps;
      sum.ms += call.end.milliseconds_since(call.begin) / steps;
    }
    std::vector<OperationTime> result;
    for (auto& [key, sum] : sums) result.push_back(std::move(sum));
    std::sort(result.begin(), result.end(), [](const auto& a, const auto& b) { return a.ms > b.ms; });
    return result;
  }

 private:
  struct Call {
    const char *operation, *row;
    Event begin, end;
  };
  Event new_event() const { return Event(context_.memory(), context_.device().index); }

  Context& context_;
  std::deque<Call> calls_;
  std::vector<bool> open_;  // of the ranges that are open: whether it is the operation that is timed
};

/// Milliseconds of so many steps.
double time_steps(Context& context, Trainer& trainer, int steps) {
  Event begin(context.memory(), context.device().index), end(context.memory(), context.device().index);
  context.synchronize();
  begin.record(context.stream());
  for (int i = 0; i < steps; ++i) trainer.step();
  end.record(context.stream());
  end.wait();
  return end.milliseconds_since(begin);
}

}  // namespace

double TrainBenchResult::calls() const {
  double sum = 0.0;
  for (const OperationTime& operation : operations) sum += operation.calls;
  return sum;
}

StepFloor floor_of(const ResNetConfig& config, std::int64_t batch, DType dtype, std::int64_t parameters,
                   OptimizerKind optimizer, const Ceilings& ceilings) {
  StepFloor floor;
  const auto add = [&](double bytes, double flops, int count) {
    const double memory = ceilings.copy > 0.0 ? 1e3 * bytes / ceilings.copy : 0.0;
    const double matrix = ceilings.matrix > 0.0 ? 1e3 * flops / ceilings.matrix : 0.0;
    floor.bytes += count * bytes;
    floor.flops += count * flops;
    floor.memory_ms += count * memory;
    floor.roofline_ms += count * std::max(memory, matrix);
  };
  for (const StepCall& made : step_calls(config, batch, dtype))
    add(check::bytes_of(made.call, dtype), made.call.flops, made.count);
  const auto pixels = static_cast<double>(batch * config.height * config.width * config.picture_channels);
  add(pixels * (1.0 + static_cast<double>(size_of(dtype))), 0.0, 1);  // bytes to numbers
  // Weights, gradients and moments are read, weights and moments written; all but 16-bit gradients in f32.
  const double words = optimizer == OptimizerKind::sgd || optimizer == OptimizerKind::muon ? 5.0 : 7.0;
  add(4.0 * words * static_cast<double>(parameters), 0.0, 1);
  return floor;
}

TrainBenchResult run_train_bench(Context& context, const TrainBenchOptions& options) {
  const TrainOptions& training = options.training;
  TrainBenchResult result;
  result.ceilings = {measure_copy_rate(context), measure_matrix_rate(context, training.amp)};
  const ResNetConfig model = network_config(training);  // whose floor is known
  const std::unique_ptr<Model> network = make_network(context, training, {kClasses, kSide, kSide, kChannels});
  const std::int64_t pictures = std::max(kPictures, training.batch_size);
  const Normalisation normalisation{{0.5f, 0.5f, 0.5f}, {0.3f, 0.3f, 0.3f}};
  const PictureSet resident = random_pictures(context, pictures);
  TrainerConfig config = trainer_config(training, normalisation);
  const auto order = [&](std::uint32_t epoch) { return epoch_order(0, epoch, pictures); };
  std::optional<Trainer> trainer(std::in_place, context, *network, resident, config, order);
  context.allocator().reset_peak();
  time_steps(context, *trainer, options.warmup);
  std::vector<double> step_ms;
  for (int window = 0; window < options.windows; ++window) {
    step_ms.push_back(time_steps(context, *trainer, options.steps) / options.steps);
    result.images_per_second.push_back(1e3 * static_cast<double>(training.batch_size) / step_ms.back());
  }
  result.spread = spread_of(result.images_per_second);
  result.step_ms = spread_of(step_ms);
  result.peak_bytes = context.allocator().peak_bytes();
  result.floor = floor_of(model, training.batch_size, training.amp, network->store().count(),
                          training.optimizer, result.ceilings);
  result.step_mode = name_of(trainer->step_mode());
  result.step_notice = trainer->step_notice();
  // A step that was captured is one piece of work, within which nothing can be marked.
  trainer.reset();
  config.step_mode = StepMode::eager;
  trainer.emplace(context, *network, resident, config, order);
  time_steps(context, *trainer, 1);
  OperationClock clock(context);
  result.observed_ms = time_steps(context, *trainer, kObservedSteps) / kObservedSteps;
  result.operations = clock.times(kObservedSteps);
  return result;
}

}  // namespace zeroth::app
