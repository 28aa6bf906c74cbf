// Training speed: images/s of Trainer::step(), median over windows. A step gathers a batch from a resident
// uint8 data set of random pictures, augments and normalises it (--input full: flip and crop; plain:
// neither), runs forward, cross entropy, backward and SGD. Prints one line of JSON, with the fields of
// benchmarks/pytorch/train_speed.py.

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <omp.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>

#include "data/order.h"
#include "engine/trainer.h"
#include "models/resnet.h"

using namespace zeroth;

namespace {

struct Options {
  std::string model = "rezero-resnet20", device = "cpu", input = "full";
  std::vector<std::string> implementations;
  std::int64_t batch_size = 128, pictures = 10000;
  int threads = omp_get_num_procs(), warmup = 5, windows = 5, steps = 10;
};

void declare(CLI::App& app, Options& options) {
  app.option_defaults()->always_capture_default();
  app.add_option("--model", options.model);
  app.add_option("--device", options.device);
  app.add_option("--impl", options.implementations, "OPERATION=ROW");
  app.add_option("--batch-size", options.batch_size)->check(CLI::PositiveNumber);
  app.add_option("--threads", options.threads)->check(CLI::PositiveNumber);
  app.add_option("--input", options.input)->check(CLI::IsMember({"full", "plain"}));
  app.add_option("--pictures", options.pictures, "size of the data set")->check(CLI::PositiveNumber);
  app.add_option("--warmup", options.warmup, "steps that are not timed");
  app.add_option("--windows", options.windows)->check(CLI::PositiveNumber);
  app.add_option("--steps", options.steps, "steps in a window")->check(CLI::PositiveNumber);
}

PictureSet random_pictures(Context& context, std::int64_t count) {
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(count) * 32 * 32 * 3);
  std::uint64_t state = 1;
  for (std::uint8_t& pixel : pixels) {  // Knuth's MMIX generator: its high bits are good enough for noise
    state = state * 6364136223846793005u + 1442695040888963407u;
    pixel = static_cast<std::uint8_t>(state >> 56);
  }
  std::vector<std::int32_t> labels(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int32_t>(i % 10);
  return {Tensor::from_host<std::uint8_t>(context, {count, 32, 32, 3}, pixels),
          Tensor::from_host<std::int32_t>(context, {count}, labels), 10};
}

TrainerConfig trainer_config(const Options& options) {
  TrainerConfig config;
  config.batch_size = options.batch_size;
  config.rates.fill({0.1, 5e-4});
  config.flip = options.input == "full";
  config.crop_padding = options.input == "full" ? 4 : 0;
  config.mean = {0.49139968, 0.48215841, 0.44653091, 0.0};
  config.std = {0.24703223, 0.24348513, 0.26158784, 1.0};
  return config;
}

/// images/s of each window.
std::vector<double> measure(const Options& options) {
  using Clock = std::chrono::steady_clock;
  Context context(parse_device(options.device));
  for (const std::string& assignment : options.implementations) context.choose_implementation(assignment);
  ResNet network(resnet_config(options.model));
  network.store().materialise(context, 0);
  Trainer trainer(context, network, random_pictures(context, options.pictures), trainer_config(options),
                  [&](std::uint32_t epoch) { return epoch_order(0, epoch, options.pictures); });
  for (int step = 0; step < options.warmup; ++step) trainer.step();
  std::vector<double> rates;
  for (int window = 0; window < options.windows; ++window) {
    context.synchronize();
    const auto begin = Clock::now();
    for (int step = 0; step < options.steps; ++step) trainer.step();
    context.synchronize();
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    rates.push_back(options.steps * static_cast<double>(options.batch_size) / seconds);
  }
  return rates;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Training speed on random pictures");
  declare(app, options);
  CLI11_PARSE(app, argc, argv);
  omp_set_num_threads(options.threads);
  try {
    const std::vector<double> rates = measure(options);
    fmt::print(
        R"({{"system": "zeroth", "model": "{}", "device": "{}", "dtype": "f32", "batch_size": {}, "threads": {}, )"
        R"("input": "{}", "images_per_second": {:.1f}, "windows": [{:.1f}]}})"
        "\n",
        options.model, options.device, options.batch_size, options.threads, options.input, median(rates),
        fmt::join(rates, ", "));
  } catch (const Error& error) {
    fmt::print(stderr, "train_speed: {}\n", error.what());
    return static_cast<int>(error.kind());
  }
  return 0;
}
