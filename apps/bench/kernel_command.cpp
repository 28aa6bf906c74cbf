#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>

#include "apps/bench/command.h"
#include "apps/bench/kernel_report.h"
#include "apps/did_you_mean.h"
#include "apps/parse_value.h"
#include "apps/session.h"
#include "engine/ceilings.h"
#include "kernels/core/error.h"
#include "kernels/operations.h"

namespace zeroth::app {

namespace {

/// How much the reference may compute for one check: a second or so on the host; simt's kernels are far
/// slower.
constexpr double kCheckCost = 3e8, kSimtCheckCost = 3e6;

struct KernelFlags {
  std::string operations, shapes = "rezero-resnet20@128", dtype = "f32", rows, min_time = "200",
                          rounds = "11", rotate, plot;
  bool json = false, csv = false;
};

BenchShape parse_shape(const std::string& text) {
  const std::size_t at = text.find('@');
  if (at == std::string::npos) fail(ErrorKind::usage, fmt::format("expected MODEL@BATCH, not '{}'", text));
  static_cast<void>(resnet_config(text.substr(0, at)));  // throws for a name there is not
  return {text.substr(0, at), parse_integer(text.substr(at + 1), 1, 1'000'000)};
}

DType parse_storage(const std::string& text) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16})
    if (text == name_of(dtype)) return dtype;
  fail(ErrorKind::usage, fmt::format("expected f32, bf16 or f16, not '{}'", text));
}

/// Names that are among these; refuses others with the nearest.
std::vector<std::string> parse_names(const std::string& text, const std::vector<std::string>& known) {
  const std::vector<std::string> names = parse_list(text);
  for (const std::string& name : names)
    if (std::find(known.begin(), known.end(), name) == known.end())
      fail(ErrorKind::usage,
           fmt::format("no '{}'{}; there are {}", name, did_you_mean(name, known), fmt::join(known, ", ")));
  return names;
}

std::vector<std::string> rows_on(DeviceKind device) {
  std::vector<std::string> names;
  for (const RowInfo& info : all_rows())
    if (info.row.device == device && std::find(names.begin(), names.end(), info.row.name) == names.end())
      names.emplace_back(info.row.name);
  return names;
}

int bench_kernels(const Said& said, const KernelFlags& flags) {
  if (flags.json && flags.csv) fail(ErrorKind::usage, "--json and --csv both want stdout; take one of them");
  if (!flags.plot.empty()) flag_path("--plot", flags.plot);
  TrainOptions machine;
  for (const auto* layer : {&said.environment, &said.command_line})
    for (const Assignment& assignment : *layer) assign(machine, assignment);

  KernelBenchOptions options;
  options.dtype = flag_value("--dtype", flags.dtype, parse_storage);
  options.min_time =
      flag_value("--min-time", flags.min_time, [](const auto& text) { return parse_real(text, kPositive); });
  options.rounds = static_cast<int>(
      flag_value("--rounds", flags.rounds, [](const auto& text) { return parse_integer(text, 3, 10'000); }));
  if (!flags.rotate.empty())
    options.rotate = 1e6 * flag_value("--rotate", flags.rotate,
                                      [](const auto& text) { return parse_real(text, kNotNegative); });
  std::vector<BenchShape> shapes;
  for (const std::string& shape : parse_list(flags.shapes))
    shapes.push_back(flag_value("--shapes", shape, parse_shape));
  const std::vector<std::string> operations = flag_value(
      "--op", flags.operations, [](const auto& text) { return parse_names(text, all_operations()); });

  const std::unique_ptr<Context> context = make_context(machine);
  time_plans(*context, machine, nullptr);
  const DeviceKind kind = context->device().kind;
  options.rows =
      flag_value("--rows", flags.rows, [&](const auto& text) { return parse_names(text, rows_on(kind)); });
  const std::vector<BenchCall> calls =
      bench_calls(shapes, options.dtype, operations, kind == DeviceKind::simt ? kSimtCheckCost : kCheckCost);
  if (!flags.plot.empty() && kind == DeviceKind::simt)
    fail(ErrorKind::usage, "--plot: simt has no times to draw");

  BenchSetting setting{
      .device = machine.device == "auto" ? name_of(kind) : machine.device,
      .processor = processor_name(*context),
      .dtype = options.dtype,
      .ceilings = {measure_copy_rate(*context), measure_matrix_rate(*context, options.dtype)},
      .cache = context->memory().cache_bytes(context->device().index),
      .shapes = shapes,
      .options = options};
  const bool text = !flags.json && !flags.csv;
  if (text) print_result(heading_text(setting));
  std::vector<CallResult> results;
  run_kernel_bench(*context, options, calls, [&](const CallResult& result) {
    if (text) print_result(call_text(setting, result, results.empty() ? nullptr : &results.back()));
    results.push_back(result);
  });
  if (text) print_result(totals_text(setting, results));
  if (flags.json) print_result(bench_json(setting, results));
  if (flags.csv) print_result(bench_csv(setting, results));
  if (!flags.plot.empty()) plot::write_drawing(roofline(setting, results), flags.plot);
  refuse_wrong(results);
  return 0;
}

}  // namespace

void add_bench_kernels_command(CLI::App& bench, Action& action) {
  auto flags = std::make_shared<KernelFlags>();
  auto settings = std::make_shared<std::unique_ptr<SettingFlags>>();
  CLI::App& command =
      add_command(bench, "kernels", "Check and time every row of every call of a training step.",
                  "zeroth bench kernels --op conv2d --shapes resnet20@128,resnet18@256\n"
                  "  zeroth bench kernels --dtype bf16 --rows native,cudnn --plot roofline.png\n"
                  "docs/benchmarking.md says what the columns mean.",
                  action, [flags, settings] { return bench_kernels((*settings)->said(), *flags); });
  command.add_option("--op", flags->operations, "operations, as `zeroth info` lists them [all of the step]")
      ->type_name("LIST");
  command.add_option("--shapes", flags->shapes, "models and batch sizes [" + flags->shapes + "]")
      ->type_name("MODEL@N,...");
  command.add_option("--dtype", flags->dtype, "storage: f32, bf16, f16 [" + flags->dtype + "]")
      ->type_name("NAME");
  command.add_option("--rows", flags->rows, "rows [every one but the reference]")->type_name("LIST");
  command
      .add_option("--min-time", flags->min_time,
                  "milliseconds for the calls of one row [" + flags->min_time + "]")
      ->type_name("MS");
  command.add_option("--rounds", flags->rounds, "rounds in which rows take turns [" + flags->rounds + "]")
      ->type_name("N");
  command
      .add_option("--rotate", flags->rotate,
                  "megabytes of operands that calls go through; 0: always the same [twice the last cache]")
      ->type_name("MB");
  command.add_flag("--json", flags->json, "print results as JSON");
  command.add_flag("--csv", flags->csv, "print results as CSV");
  command.add_option("--plot", flags->plot, "draw the roofline, as .png or .svg")->type_name("FILE");
  *settings = std::make_unique<SettingFlags>(command, std::vector<std::string>{"device", "threads"});
}

}  // namespace zeroth::app
