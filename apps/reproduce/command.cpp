#include "apps/reproduce/command.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <thread>

#include "apps/did_you_mean.h"
#include "apps/parse_value.h"
#include "apps/reproduce/child_run.h"
#include "apps/reproduce/report.h"
#include "apps/run_lock.h"
#include "apps/session.h"
#include "engine/atomic_file.h"
#include "kernels/core/error.h"

namespace zeroth::app {
namespace fs = std::filesystem;

namespace {

/// What the command line says, as text.
struct Words {
  std::string table, seeds = "3", epochs_scale = "1", training_accuracy = "0.8", rows, out;
  std::vector<std::string> with;
};

struct Order {
  const Table* table = nullptr;
  std::vector<const TableRow*> rows;
  std::int64_t seeds = 3;
  Departure departure;
  double training_accuracy = 0.8;
  fs::path out;
  bool quiet = false;
  TrainOptions machine;  ///< data, device, threads
};

template <class Parse>
auto parse_flag(const char* flag, Parse&& parse) {
  try {
    return parse();
  } catch (const Error& error) {
    fail(error.kind(), fmt::format("{}: {}", flag, error.what()));
  }
}

std::vector<const TableRow*> choose_rows(const Table& table, const std::string& wanted) {
  std::vector<const TableRow*> rows;
  std::vector<std::string> keys;
  for (const TableRow& row : table.rows) keys.push_back(row.key);
  for (const std::string& name : wanted.empty() ? keys : parse_list(wanted)) {
    const auto at = std::find(keys.begin(), keys.end(), name);
    if (at == keys.end())
      fail(ErrorKind::usage, fmt::format("--rows: no row '{}' in {}: there are {}{}", name, table.name,
                                         fmt::join(keys, ", "), did_you_mean(name, keys)));
    rows.push_back(&table.rows[static_cast<std::size_t>(at - keys.begin())]);
  }
  return rows;
}

std::pair<std::string, std::string> parse_change(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0)
    fail(ErrorKind::usage, fmt::format("--with: expected KEY=VALUE, not '{}'", text));
  std::string key = text.substr(0, equals);
  std::replace(key.begin(), key.end(), '-', '_');
  const Setting* setting = find_setting(key);
  std::vector<std::string> known;
  for (const Setting& one : settings())
    if (one.recorded && one.key != "recipe" && one.key != "seed") known.push_back(one.key);
  if (setting == nullptr || std::find(known.begin(), known.end(), key) == known.end())
    fail(ErrorKind::usage, fmt::format("--with: no setting '{}' to change{}", key, did_you_mean(key, known)));
  return {key, text.substr(equals + 1)};
}

Order read_order(const Words& words, const Said& said) {
  Order order;
  order.table = &find_table(words.table);
  order.rows = choose_rows(*order.table, words.rows);
  order.seeds = parse_flag("--seeds", [&] { return parse_integer(words.seeds, 1, 1000); });
  order.departure.epochs_scale =
      parse_flag("--epochs-scale", [&] { return parse_real(words.epochs_scale, kUpToOne); });
  order.training_accuracy =
      parse_flag("--training-accuracy", [&] { return parse_real(words.training_accuracy, kUpToOne); });
  for (const std::string& text : words.with) order.departure.changed.push_back(parse_change(text));
  order.out = words.out.empty() ? fs::path("runs") / words.table : fs::path(words.out);
  for (const auto* layer : {&said.environment, &said.command_line})
    for (const Assignment& assignment : *layer) assign(order.machine, assignment);
  if (order.machine.data.empty())
    order.machine.data = "cifar10";  // never generated pictures unless asked for
  order.quiet = order.machine.quiet;
  return order;
}

TrainOptions options_of(const Order& order, const TableRow& row, std::int64_t seed) {
  TrainOptions options = run_options(*order.table, row, seed, order.departure);
  options.data = order.machine.data;
  options.device = order.machine.device;
  options.threads = order.machine.threads;
  return options;
}

Report gather(const Order& order) {
  Report report{order.table, {}, order.seeds, order.departure.mark(), order.training_accuracy};
  for (const TableRow* row : order.rows) {
    ReportRow line{row, declare_network(options_of(order, *row, 0))->store().count(), {}};
    for (std::int64_t seed = 0; seed < order.seeds && row->missing.empty(); ++seed)
      if (auto result = read_result(RunFiles(order.out, row->key, seed), options_of(order, *row, seed)))
        line.runs.push_back(std::move(*result));
    report.rows.push_back(std::move(line));
  }
  return report;
}

/// A training whose parent was killed saves before it ends; until then its folder is locked.
void wait_for_predecessor(const fs::path& run) {
  for (int tenths = 0; fs::exists(run) && tenths < 600 && SignalRelay::received() == 0; ++tenths) {
    try {
      const RunLock lock(run);
      return;
    } catch (const Error&) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  }
}

/// Trains one run to its end, from where it was interrupted. The exit code that the program is to end with,
/// or 0.
int train_run(const Order& order, const TableRow& row, std::int64_t seed) {
  const RunFiles files(order.out, row.key, seed);
  const TrainOptions options = options_of(order, row, seed);
  replace_file(files.config, folder_config(options));
  wait_for_predecessor(files.run);
  std::vector<std::string> arguments{
      "train", "--config", files.config.string(), "--out", files.run.string(), "--resume", "auto", "--json"};
  if (order.quiet) arguments.emplace_back("--quiet");
  if (SignalRelay::received() != 0) return 128 + SignalRelay::received();
  const ChildEnd end = run_zeroth(arguments);
  if (SignalRelay::received() != 0) return 128 + SignalRelay::received();
  const bool diverged = end.code == static_cast<int>(ErrorKind::diverged);
  if (end.code == 0 || diverged) write_result(files, options, end.output, diverged);
  if (diverged) return 0;  // a result, too: the other rows go on
  return end.code;
}

int reproduce(const Order& order) {
  gather(order);  // refuses settings that cannot be, and results of others, before anything is written
  std::error_code error;
  fs::create_directories(order.out, error);
  if (error) fail(ErrorKind::runtime, fmt::format("cannot make {}: {}", order.out.string(), error.message()));
  const RunLock lock(order.out);
  // The settings are the recipe's and the command line's alone.
  for (const Setting& setting : settings())
    if (setting.from_environment) ::unsetenv(setting.variable().c_str());
  std::vector<std::pair<const TableRow*, std::int64_t>> runs;
  for (std::int64_t seed = 0; seed < order.seeds; ++seed)
    for (const TableRow* row : order.rows)
      if (row->missing.empty()) runs.emplace_back(row, seed);
  const SignalRelay relay;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const auto& [row, seed] = runs[i];
    const bool ended = fs::exists(RunFiles(order.out, row->key, seed).result);
    if (!order.quiet)
      say(fmt::format("run {} of {}: {}, seed {}{}", i + 1, runs.size(), row->label(), seed,
                      ended ? ": has ended" : ""));
    if (ended) continue;
    if (const int code = train_run(order, *row, seed); code != 0) {
      say(fmt::format("zeroth: run {} of {} did not end; the same command goes on from here", i + 1,
                      runs.size()));
      return code;
    }
    write_report(gather(order), order.out);
  }
  const Report report = gather(order);
  write_report(report, order.out);
  print_result(to_markdown(report, {}) + fmt::format("\nReport: {}\n", (order.out / "report.html").string()));
  return 0;
}

}  // namespace

void add_reproduce_command(CLI::App& program, Action& action) {
  auto words = std::make_shared<Words>();
  auto flags = std::make_shared<std::unique_ptr<SettingFlags>>();
  CLI::App& command = add_command(
      program, "reproduce", "Train a published table's rows from several seeds; write a report beside it.",
      "zeroth reproduce rezero-table --out runs/table\n"
      "  zeroth reproduce rezero-table --epochs-scale 0.02 --rows rezero-resnet20\n"
      "Tables: rezero-table, colossalai-table, resnet-table, rezero-ablation. The same\n"
      "command goes on where it was interrupted.",
      action, [words, flags] { return reproduce(read_order(*words, (*flags)->said())); });
  command.add_option("table", words->table, "which table")->type_name("TABLE")->required();
  command.add_option("--seeds", words->seeds, "runs of each row, from seeds 0 to N - 1 [3]")->type_name("N");
  command
      .add_option("--epochs-scale", words->epochs_scale,
                  "share of the epochs, milestones and patience; marked in every output [1]")
      ->type_name("X");
  command.add_option("--rows", words->rows, "only these rows, by key, between commas [all]")
      ->type_name("LIST");
  command
      .add_option("--with", words->with,
                  "a setting to change in every run, such as amp=bf16; marked in every output; may be given "
                  "again for others")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command
      .add_option("--training-accuracy", words->training_accuracy,
                  "tell the epochs until this training accuracy [0.8]")
      ->type_name("X");
  command.add_option("--out", words->out, "folder of runs and report [runs/TABLE]")->type_name("DIR");
  *flags =
      std::make_unique<SettingFlags>(command, std::vector<std::string>{"data", "device", "threads", "quiet"});
}

}  // namespace zeroth::app
