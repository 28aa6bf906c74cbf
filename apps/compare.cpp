#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/checkpoint_info.h"
#include "apps/command_line.h"
#include "apps/run_history.h"
#include "apps/session.h"
#include "engine/progress.h"
#include "kernels/core/error.h"

namespace zeroth::app {

namespace {

/// What is compared of a run; absent: not known, or not reached.
struct Summary {
  std::string name, model, data;
  std::int64_t epochs = 0, steps = 0;
  std::optional<double> final_error, best_error;  ///< held out, in [0, 1]
  std::string held_out;                           ///< "validation" or "test"
  std::optional<std::int64_t> best_epoch, to_80, to_90;
  double seconds = 0.0, images_per_second = 0.0;
  std::optional<std::int64_t> parameters;
};

/// From the last checkpoint, which knows the pictures' shape and classes.
std::optional<std::int64_t> parameters_of(const RunHistory& run) {
  std::error_code error;
  if (!std::filesystem::exists(run.folder.last(), error)) return std::nullopt;
  const CheckpointInfo info = checkpoint_info(SafetensorsFile(run.folder.last()));
  return declare_network(run.options, {info.classes, info.height, info.width, info.channels})
      ->store()
      .count();
}

Summary summarise(const RunHistory& run) {
  const std::vector<EpochRecord>& epochs = run.records.epochs;
  Summary summary;
  summary.name = run.marked_name();
  summary.model = run.options.model;
  summary.data = run.records.data;
  summary.epochs = epochs.empty() ? 0 : epochs.back().epoch;
  summary.steps = std::max(epochs.empty() ? 0 : epochs.back().step,
                           run.records.steps.empty() ? 0 : run.records.steps.back().step);
  summary.held_out = run.records.validated() ? "validation" : "test";
  if (!epochs.empty())
    if (const SetResult* last = held_out(epochs.back())) summary.final_error = last->error;
  if (const EpochRecord* best = best_epoch(epochs)) {
    summary.best_error = held_out(*best)->error;
    summary.best_epoch = best->epoch;
  }
  summary.to_80 = epochs_to_train_error(epochs, 0.2);
  summary.to_90 = epochs_to_train_error(epochs, 0.1);
  summary.seconds = total_seconds(epochs);
  summary.images_per_second = mean_images_per_second(epochs);
  summary.parameters = parameters_of(run);
  return summary;
}

template <class T>
nlohmann::ordered_json or_null(const std::optional<T>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json(nullptr);
}

std::string as_json(const std::vector<Summary>& summaries, const std::vector<std::string>& folders) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < summaries.size(); ++i) {
    const Summary& one = summaries[i];
    nlohmann::ordered_json entry;
    entry["run"] = folders[i];
    entry["model"] = one.model;
    entry["data"] = one.data;
    entry["epochs"] = one.epochs;
    entry["steps"] = one.steps;
    entry["held_out"] = one.held_out;
    entry["final_error"] = or_null(one.final_error);
    entry["best_error"] = or_null(one.best_error);
    entry["best_epoch"] = or_null(one.best_epoch);
    entry["epochs_to_80"] = or_null(one.to_80);
    entry["epochs_to_90"] = or_null(one.to_90);
    entry["seconds"] = one.seconds;
    entry["images_per_second"] =
        std::isfinite(one.images_per_second) ? nlohmann::ordered_json(one.images_per_second) : nullptr;
    entry["parameters"] = or_null(one.parameters);
    all.push_back(std::move(entry));
  }
  return json_line(all);
}

std::string text_of(const std::optional<std::int64_t>& value) {
  return value ? std::to_string(*value) : "-";
}

std::string as_text(const std::vector<Summary>& summaries) {
  using Row = std::vector<std::string>;
  std::vector<Row> rows{{"run", "model", "data", "epochs", "error", "best", "at", "on", "80 %", "90 %",
                         "time", "images/s", "parameters"}};
  for (const Summary& one : summaries)
    rows.push_back({one.name, one.model, one.data, std::to_string(one.epochs),
                    one.final_error ? percent(*one.final_error) : "-",
                    one.best_error ? percent(*one.best_error) : "-", text_of(one.best_epoch), one.held_out,
                    text_of(one.to_80), text_of(one.to_90), duration_text(one.seconds),
                    std::isfinite(one.images_per_second) ? fmt::format("{:.0f}", one.images_per_second) : "-",
                    text_of(one.parameters)});
  std::vector<std::size_t> widths(rows.front().size());
  for (const Row& row : rows)
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  std::string text;
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t c = 0; c < row.size(); ++c) {
      const bool words = c < 3 || c == 7;
      line += words ? fmt::format("{:<{}}  ", row[c], widths[c]) : fmt::format("{:>{}}  ", row[c], widths[c]);
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
  }
  return text +
         "error: after the last epoch; best: the least, and the epoch it was reached at; 80 %, 90 %: the "
         "first\n"
         "epoch with that training accuracy; time: of training and evaluation; images/s: of training alone\n";
}

int compare(const std::vector<std::string>& folders, bool json) {
  std::vector<Summary> summaries;
  for (const RunHistory& run : read_histories(folders)) summaries.push_back(summarise(run));
  print_result(json ? as_json(summaries, folders) : as_text(summaries));
  return 0;
}

}  // namespace

void add_compare_command(CLI::App& program, Action& action) {
  auto folders = std::make_shared<std::vector<std::string>>();
  auto json = std::make_shared<bool>(false);
  CLI::App& command = add_command(program, "compare", "Errors, speed and size of several runs, side by side.",
                                  "zeroth compare runs/first runs/second\n  zeroth compare runs/* --json",
                                  action, [folders, json] { return compare(*folders, *json); });
  command.add_option("runs", *folders, "run folders")->type_name("RUN...")->required();
  command.add_flag("--json", *json, "print the table as JSON");
}

}  // namespace zeroth::app
