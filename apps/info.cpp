#include <fmt/format.h>
#include <fmt/ranges.h>
#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/command_line.h"
#include "apps/cuda_info.h"
#include "apps/help_format.h"
#include "apps/memory_use.h"
#include "apps/model_table.h"
#include "apps/processor.h"
#include "apps/recipes.h"
#include "apps/session.h"
#include "apps/version.h"
#include "data/lookup.h"
#include "kernels/core/error.h"
#include "kernels/operations.h"

namespace zeroth::app {

namespace {

std::vector<Finding> find_devices(const CudaReport& cuda) {
  std::vector<Finding> devices{{"cpu", fmt::format("{} threads", omp_get_num_procs()), ""},
                               {"simt", "the CUDA kernels on the CPU, for tests", ""}};
  for (Finding& gpu : find_gpus(cuda)) devices.push_back(std::move(gpu));
  return devices;
}

std::vector<Finding> find_data() {
  std::vector<Finding> found;
  for (const std::string& name : dataset_names()) {
    try {
      const DatasetLocation location = find_dataset(name);
      found.push_back({name, location.folder.empty() ? "built in" : location.folder.string(), ""});
    } catch (const Error& error) {
      found.push_back({name, "", error.what()});
    }
  }
  return found;
}

/// For each operation and kind of device, its rows in order of preference. Rows of devices that are not here
/// are left out.
std::map<std::string, std::map<std::string, std::vector<std::string>>> rows_by_operation(bool has_cuda) {
  std::map<std::string, std::map<std::string, std::vector<std::string>>> table;
  for (const RowInfo& info : all_rows()) {
    if (info.row.device == DeviceKind::cuda && !has_cuda) continue;
    table[info.operation][name_of(info.row.device)].push_back(
        std::string(info.row.name) + (info.row.deterministic ? "" : " (not deterministic)"));
  }
  return table;
}

std::string machine_text(const Processor& processor, const std::vector<Finding>& devices,
                         const std::vector<Finding>& software, const std::vector<Finding>& data,
                         bool has_cuda) {
  std::string text = two_columns("version", version_text(), 12);
  text +=
      two_columns("processor", fmt::format("{}: {}", processor.name, fmt::join(processor.features, " ")), 12);
  const auto list = [&](const char* heading, const std::vector<Finding>& findings) {
    for (const Finding& finding : findings)
      text += two_columns(fmt::format("{:<11} {}", std::exchange(heading, ""), finding.name),
                          finding.missing.empty() ? finding.state : finding.missing, 23);
  };
  list("devices", devices);
  list("cuda", software);
  list("data", data);
  const char* heading = "recipes";
  for (const Recipe& recipe : recipes())
    text += fmt::format("{:<11} {}\n", std::exchange(heading, ""), recipe.name);
  text += fmt::format("\n{:<22}  rows on each device\n", "operation");
  auto rows = rows_by_operation(has_cuda);
  for (const std::string& operation : all_operations()) {
    std::vector<std::string> devices_with;
    for (const auto& [device, names] : rows[operation])
      devices_with.push_back(fmt::format("{}: {}", device, fmt::join(names, ", ")));
    text += two_columns(operation, fmt::format("{}", fmt::join(devices_with, "; ")), 24);
  }
  return text + "The first row that fits is taken; --impl OPERATION=ROW takes another.\n";
}

std::string machine_json(const Processor& processor, const std::vector<Finding>& devices,
                         const std::vector<Finding>& software, const std::vector<Finding>& data,
                         bool has_cuda) {
  nlohmann::ordered_json result;
  result["version"] = ZEROTH_VERSION;
  result["commit"] = ZEROTH_COMMIT;
  result["build"] = {{"type", ZEROTH_BUILD_TYPE},
                     {"compiler", ZEROTH_COMPILER},
                     {"march", ZEROTH_MARCH},
                     {"cuda", ZEROTH_CUDA_STATE}};
  result["processor"] = {
      {"name", processor.name}, {"features", processor.features}, {"threads", omp_get_num_procs()}};
  const auto list = [&](const char* key, const std::vector<Finding>& findings) {
    for (const Finding& finding : findings) {
      const bool here = finding.missing.empty();
      result[key][finding.name] = {{"available", here},
                                   {here ? "detail" : "reason", here ? finding.state : finding.missing}};
    }
  };
  list("devices", devices);
  list("cuda", software);
  list("data", data);
  for (const Recipe& recipe : recipes()) result["recipes"].push_back(recipe.name);
  result["operations"] = rows_by_operation(has_cuda);
  return json_line(result);
}

int show_machine(bool json) {
  const Processor processor = read_processor();
  const CudaReport cuda = report_cuda();
  const std::vector<Finding> devices = find_devices(cuda), software = find_cuda_software(cuda),
                             data = find_data();
  const bool has_cuda = std::any_of(cuda.gpus.begin(), cuda.gpus.end(),
                                    [](const GpuReport& gpu) { return gpu.missing.empty(); });
  print_result(json ? machine_json(processor, devices, software, data, has_cuda)
                    : machine_text(processor, devices, software, data, has_cuda));
  return 0;
}

int show_model(const TrainOptions& options, bool json, bool memory) {
  if (memory) {
    const MemoryUse use = predict_memory_use(options);
    print_result(json ? memory_json(options, use) : memory_text(options, use));
    return 0;
  }
  const std::unique_ptr<Model> network = declare_network(options);
  const int moments = moments_of(options);
  print_result(json ? model_json(*network, options.batch_size, moments)
                    : model_table(*network, options.batch_size, moments));
  return 0;
}

int show(const Said& said, bool json, bool memory) {
  TrainOptions options;
  for (const auto* layer : {&said.environment, &said.command_line})
    for (const Assignment& assignment : *layer) assign(options, assignment);
  for (const Assignment& assignment : said.command_line)
    if (assignment.setting->key == "amp" && !memory)
      fail(ErrorKind::usage, fmt::format("{} needs --memory: the layer table is for f32", assignment.source));
  // Only a model that was asked for on the command line has a table; flags about a model alone are a slip.
  for (const Assignment& assignment : said.command_line)
    if (assignment.setting->key == "model") return show_model(options, json, memory);
  if (memory) fail(ErrorKind::usage, "--memory needs --model");
  for (const Assignment& assignment : said.command_line)
    fail(ErrorKind::usage, fmt::format("{} needs --model", assignment.source));
  return show_machine(json);
}

}  // namespace

std::string version_text() {
  return fmt::format("zeroth {}{}, {} build by {}{}, {}", ZEROTH_VERSION,
                     *ZEROTH_COMMIT != '\0' ? " (" ZEROTH_COMMIT ")" : "", ZEROTH_BUILD_TYPE, ZEROTH_COMPILER,
                     *ZEROTH_MARCH != '\0' ? " for -march=" ZEROTH_MARCH : "", ZEROTH_CUDA_STATE);
}

void add_info_command(CLI::App& program, Action& action) {
  auto flags = std::make_shared<std::unique_ptr<SettingFlags>>();
  auto json = std::make_shared<bool>(false), memory = std::make_shared<bool>(false);
  CLI::App& command = add_command(
      program, "info", "This machine: build, devices, data, operations; or the layers of a model.",
      "zeroth info\n  zeroth info --model rezero-resnet56\n"
      "  zeroth info --model resnet110 --batch-size 512 --amp bf16 --memory",
      action, [flags, json, memory] { return show((*flags)->said(), *json, *memory); });
  *flags = std::make_unique<SettingFlags>(
      command, std::vector<std::string>{"model", "residual", "shortcut", "batch_size", "optimizer", "amp",
                                        "ema", "lookahead"});
  command.add_flag("--memory", *memory,
                   "the memory that a training of the model takes on a GPU, by a dry run");
  command.add_flag("--json", *json, "print it as JSON");
}

}  // namespace zeroth::app
