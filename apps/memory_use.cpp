#include "apps/memory_use.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <vector>

#include "apps/command_line.h"
#include "apps/session.h"
#include "kernels/simt/stream.h"

namespace zeroth::app {

namespace {

constexpr std::int64_t kTrainPictures = 50000, kTestPictures = 10000;  // CIFAR-10's
constexpr std::int64_t kEvaluated = 500;                               // one batch of an evaluation

PictureSet blank_pictures(Context& context, std::int64_t count, const PictureKind& kind) {
  return {Tensor::zeros(context, {count, kind.height, kind.width, kind.channels}, DType::u8),
          Tensor::zeros(context, {count}, DType::i32), kind.classes};
}

std::vector<std::int32_t> first_indices(std::int64_t count) {
  std::vector<std::int32_t> indices(static_cast<std::size_t>(count));
  std::iota(indices.begin(), indices.end(), 0);
  return indices;
}

std::size_t bytes_of(const Tensor& tensor) {
  return tensor.defined() ? tensor.bytes() : 0;
}

/// Parts with their names, in the order in which they are printed.
std::vector<std::pair<const char*, std::size_t>> parts(const MemoryUse& m) {
  return {{"parameters", m.parameters},
          {"gradients", m.gradients},
          {"moments", m.moments},
          {"averages", m.averages},
          {"working", m.working},
          {"pictures", m.pictures},
          {"step", m.step},
          {"workspace", m.workspace},
          {"between", m.between},
          {"other", m.other}};
}

std::size_t planned_total(const MemoryUse& memory) {
  std::size_t total = 0;
  for (const auto& [name, bytes] : parts(memory)) total += bytes;
  return total;
}

}  // namespace

std::size_t MemoryUse::peak() const {
  return std::max(planned_total(*this), first_step);
}

MemoryUse measure_memory_use(Context& context, const TrainOptions& options, std::int64_t train_pictures,
                             std::int64_t test_pictures) {
  const PictureKind kind;
  const std::unique_ptr<Model> network = declare_network(options, kind);
  ParameterStore& store = network->store();
  store.materialise(context, 0, options.amp);
  const PictureSet train = blank_pictures(context, train_pictures, kind),
                   test = blank_pictures(context, test_pictures, kind);
  TrainerConfig config = trainer_config(options, normalisation_for("none", kind.channels));
  config.step_mode = StepMode::planned;
  Trainer trainer(context, *network, train, config,
                  [&](std::uint32_t) { return first_indices(train_pictures); });
  Allocator& allocator = context.allocator();
  trainer.step();
  MemoryUse memory;
  memory.first_step = allocator.bytes_reserved();
  trainer.step();
  const std::size_t planned = allocator.bytes_in_use();
  memory.workspace = context.scratch(0).bytes;
  context.fork([&] { memory.workspace += context.forks() ? context.scratch(0).bytes : 0; });
  context.join();
  trainer.evaluate(test, first_indices(std::min(test_pictures, kEvaluated)));

  memory.train_pictures = train_pictures;
  memory.test_pictures = test_pictures;
  memory.parameters = bytes_of(store.flat_values());
  memory.gradients = bytes_of(store.flat_gradients());
  memory.moments = static_cast<std::size_t>(moments_of(options)) * memory.parameters;
  const int averages = (options.ema ? 1 : 0) + (options.lookahead ? 1 : 0);
  memory.averages = static_cast<std::size_t>(averages) * (memory.parameters + bytes_of(store.flat_state()));
  memory.working = bytes_of(store.flat_working_values()) + bytes_of(store.flat_working_gradients());
  memory.pictures =
      train.pictures.bytes() + train.labels.bytes() + test.pictures.bytes() + test.labels.bytes();
  memory.step = allocator.plan()->bytes();
  memory.between = allocator.bytes_reserved() - planned;
  memory.other = allocator.bytes_reserved() - planned_total(memory);
  return memory;
}

MemoryUse predict_memory_use(const TrainOptions& options) {
  const simt::DryRun dry;
  Context context({DeviceKind::simt, 0});
  context.set_forks(true);
  return measure_memory_use(context, options, kTrainPictures, kTestPictures);
}

std::string memory_text(const TrainOptions& options, const MemoryUse& memory) {
  const auto megabytes = [](std::size_t bytes) { return static_cast<double>(bytes) / 1e6; };
  std::string text = fmt::format(
      "{} in batches of {}, {}, {} + {} resident pictures: memory of the device in MB,\nby a dry run of two "
      "steps and "
      "an evaluation with the hand-written kernels\n\n",
      options.model, options.batch_size, name_of(options.amp), memory.train_pictures, memory.test_pictures);
  const char* about[] = {"",
                         "",
                         "",
                         "of weights and running statistics",
                         "16-bit weights and their gradients",
                         "both sets and their labels",
                         "activations and their gradients, in one block",
                         "scratch memory of kernels",
                         "more for evaluations",
                         "running statistics, small tables, and what sizes are rounded up by"};
  std::size_t line = 0;
  for (const auto& [name, bytes] : parts(memory)) {
    if (bytes > 0)
      text += fmt::format("{:<10} {:>10.2f}{}{}\n", name, megabytes(bytes), *about[line] ? "  " : "",
                          about[line]);
    ++line;
  }
  return text + fmt::format(
                    "peak       {:>10.2f}  in the first step, which is not planned yet, {:.2f}\n"
                    "CUDA and its libraries take some hundred MB besides.\n",
                    megabytes(memory.peak()), megabytes(memory.first_step));
}

std::string memory_json(const TrainOptions& options, const MemoryUse& memory) {
  nlohmann::ordered_json result;
  result["model"] = options.model;
  result["batch_size"] = options.batch_size;
  result["dtype"] = name_of(options.amp);
  result["train_pictures"] = memory.train_pictures;
  result["test_pictures"] = memory.test_pictures;
  for (const auto& [name, bytes] : parts(memory)) result["bytes"][name] = bytes;
  result["first_step_bytes"] = memory.first_step;
  result["peak_bytes"] = memory.peak();
  return json_line(result);
}

}  // namespace zeroth::app
