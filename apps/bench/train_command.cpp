#include <fmt/format.h>
#include <omp.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "apps/bench/command.h"
#include "apps/bench/training.h"
#include "apps/parse_value.h"
#include "apps/plot/chart.h"
#include "apps/session.h"

namespace zeroth::app {

namespace {

struct TrainFlags {
  std::string steps = "10", windows = "7", warmup = "5", plot;
  bool json = false;
};

/// "rezero-resnet20, batch 128, f32, cpu (2 threads, AMD EPYC)"
std::string workload_text(const TrainOptions& options, const Context& context) {
  const std::string threads =
      context.device().kind == DeviceKind::cuda ? "" : fmt::format("{} threads, ", omp_get_max_threads());
  return fmt::format("{}, batch {}, {}, {} ({}{})", options.model, options.batch_size, name_of(options.amp),
                     name_of(context.device().kind), threads, processor_name(context));
}

std::string result_text(const std::string& workload, const TrainBenchOptions& options,
                        const TrainBenchResult& r) {
  std::string text = workload + "\n";
  text += fmt::format("images/s        {:.1f} (quartiles {:.1f} - {:.1f}), {} windows of {} steps\n",
                      r.spread.median, r.spread.low, r.spread.high, options.windows, options.steps);
  text += fmt::format("step            {:.2f} ms, {:.0f} calls of operations, {}{}\n", r.step_ms.median,
                      r.calls(), r.step_mode, r.step_notice.empty() ? "" : " (" + r.step_notice + ")");
  const StepFloor& floor = r.floor;
  text += fmt::format(
      "memory floor    {:.2f} ms: {:.1f} MB at {:.1f} GB/s, the measured copy; the step is at {}\n",
      floor.memory_ms, floor.bytes / 1e6, r.ceilings.copy / 1e9, percent(floor.memory_ms / r.step_ms.median));
  text += fmt::format(
      "roofline floor  {:.2f} ms: with {:.2f} GFLOP at {:.4g} TFLOP/s, the measured product; the step is at "
      "{}\n",
      floor.roofline_ms, floor.flops / 1e9, r.ceilings.matrix / 1e12,
      percent(floor.roofline_ms / r.step_ms.median));
  text += fmt::format("peak memory     {:.1f} MB, the resident pictures included\n",
                      static_cast<double>(r.peak_bytes) / 1e6);
  text += fmt::format(
      "\nwhere a step's {:.2f} ms go, seen in an eager pass of its own\n  {:<34}{:<10}{:>6}{:>11}{:>8}\n",
      r.observed_ms, "operation", "row", "calls", "ms", "share");
  double rest = r.observed_ms;
  const auto line = [&](const std::string& name, const std::string& row, const std::string& calls,
                        double ms) {
    text += fmt::format("  {:<34}{:<10}{:>6}{:>11.3f}{:>7.1f} %\n", name, row, calls, ms,
                        100.0 * ms / r.observed_ms);
  };
  for (const OperationTime& operation : r.operations) {
    line(operation.operation, operation.row, fmt::format("{:.0f}", operation.calls), operation.ms);
    rest -= operation.ms;
  }
  line("between operations", "", "", rest);
  return text;
}

std::string result_json(const TrainBenchOptions& options, const Context& context, const TrainBenchResult& r) {
  nlohmann::ordered_json json;
  json["system"] = "zeroth";
  json["model"] = options.training.model;
  json["device"] = name_of(context.device().kind);
  json["processor"] = processor_name(context);
  json["dtype"] = name_of(options.training.amp);
  json["batch_size"] = options.training.batch_size;
  json["threads"] = omp_get_max_threads();
  json["steps"] = options.steps;
  json["images_per_second"] = r.spread.median;
  json["images_per_second_low"] = r.spread.low;
  json["images_per_second_high"] = r.spread.high;
  json["windows"] = r.images_per_second;
  json["step_mode"] = r.step_mode;
  json["step_ms"] = r.step_ms.median;
  json["copy_bytes_per_second"] = r.ceilings.copy;
  json["matrix_flops_per_second"] = r.ceilings.matrix;
  json["floor"] = {{"bytes", r.floor.bytes},
                   {"flops", r.floor.flops},
                   {"memory_ms", r.floor.memory_ms},
                   {"roofline_ms", r.floor.roofline_ms}};
  json["peak_bytes"] = r.peak_bytes;
  json["calls"] = r.calls();
  json["observed_step_ms"] = r.observed_ms;
  json["operations"] = nlohmann::ordered_json::array();
  for (const OperationTime& operation : r.operations)
    json["operations"].push_back({{"operation", operation.operation},
                                  {"row", operation.row},
                                  {"calls", operation.calls},
                                  {"ms", operation.ms}});
  return json_line(json);
}

plot::Drawing chart(const std::string& workload, const TrainBenchResult& r) {
  plot::Bars bars;
  bars.title = fmt::format("Where a training step's {:.1f} ms go", r.observed_ms);
  bars.subtitle = workload;
  bars.axis.title = "ms of a step";
  std::vector<std::string> rows;
  double rest = r.observed_ms;
  const auto add = [&](const std::string& name, double ms, const std::string& calls, plot::Colour colour) {
    bars.bars.push_back({name, ms, fmt::format("{}{:.1f} %", calls, 100.0 * ms / r.observed_ms), colour});
  };
  for (const OperationTime& operation : r.operations) {
    const auto row = std::find(rows.begin(), rows.end(), operation.row);
    const auto index = static_cast<std::size_t>(row - rows.begin());
    if (row == rows.end()) {
      rows.push_back(operation.row);
      bars.legend.emplace_back(operation.row, plot::palette(index));
    }
    add(operation.operation, operation.ms,
        fmt::format("{:.0f} call{}, ", operation.calls, operation.calls < 1.5 ? "" : "s"),
        plot::palette(index));
    rest -= operation.ms;
  }
  add("between operations", std::max(rest, 0.0), "", {150, 150, 150});
  return draw(bars);
}

int bench_train(const Said& said, const TrainFlags& flags) {
  const auto count = [](const char* flag, const std::string& text, std::int64_t least) {
    return static_cast<int>(flag_value(
        flag, text, [&](const std::string& value) { return parse_integer(value, least, 1'000'000); }));
  };
  TrainBenchOptions options{resolve(said), count("--warmup", flags.warmup, 1),
                            count("--windows", flags.windows, 1), count("--steps", flags.steps, 1)};
  if (!flags.plot.empty()) flag_path("--plot", flags.plot);
  const std::unique_ptr<Context> context = make_context(options.training);
  time_plans(*context, options.training, nullptr);
  if (context->device().kind == DeviceKind::simt)
    fail(ErrorKind::usage, "--device simt: it runs kernels thread by thread, and times would say nothing");
  const TrainBenchResult result = run_train_bench(*context, options);
  const std::string workload = workload_text(options.training, *context);
  print_result(flags.json ? result_json(options, *context, result) : result_text(workload, options, result));
  if (!flags.plot.empty()) plot::write_drawing(chart(workload, result), flags.plot);
  return 0;
}

}  // namespace

void add_bench_train_command(CLI::App& bench, Action& action) {
  auto flags = std::make_shared<TrainFlags>();
  auto settings = std::make_shared<std::unique_ptr<SettingFlags>>();
  CLI::App& command =
      add_command(bench, "train", "Time whole training steps on random pictures.",
                  "zeroth bench train --model rezero-resnet56 --batch-size 1024\n"
                  "docs/benchmarking.md says what is measured, and against which floor.",
                  action, [flags, settings] { return bench_train((*settings)->said(), *flags); });
  command.add_option("--steps", flags->steps, "steps in a window [" + flags->steps + "]")->type_name("N");
  command
      .add_option("--windows", flags->windows,
                  "windows of steps, whose median counts [" + flags->windows + "]")
      ->type_name("N");
  command.add_option("--warmup", flags->warmup, "steps before the first window [" + flags->warmup + "]")
      ->type_name("N");
  command.add_flag("--json", flags->json, "print the result as JSON");
  command.add_option("--plot", flags->plot, "draw where a step's time goes, as .png or .svg")
      ->type_name("FILE");
  *settings = std::make_unique<SettingFlags>(
      command, std::vector<std::string>{"model", "residual", "shortcut", "augment", "batch_size", "optimizer",
                                        "device", "amp", "threads", "deterministic", "tf32", "impl", "step"});
}

}  // namespace zeroth::app
