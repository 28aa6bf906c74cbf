#include "apps/reproduce/results.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "apps/config_file.h"
#include "apps/resolve.h"
#include "engine/atomic_file.h"
#include "kernels/core/error.h"

namespace zeroth::app {
namespace fs = std::filesystem;

namespace {

/// What must agree between a run that has ended and one that is asked for.
std::string compared_config(TrainOptions options) {
  options.threads.reset();
  options.data.clear();  // the result says which pictures they were
  return write_config(options, [](const Setting& setting) { return setting.in_checkpoint; });
}

std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells;
  std::istringstream text(line);
  for (std::string cell; std::getline(text, cell, ',');) cells.push_back(cell);
  return cells;
}

std::optional<double> number(const std::map<std::string, std::string>& row, const std::string& column) {
  const auto cell = row.find(column);
  if (cell == row.end() || cell->second.empty()) return std::nullopt;
  return std::strtod(cell->second.c_str(), nullptr);
}

void read_epochs(const fs::path& summary, RunResult& result) {
  std::ifstream file(summary);
  std::string line;
  std::getline(file, line);
  const std::vector<std::string> columns = cells_of(line);
  while (std::getline(file, line)) {
    const std::vector<std::string> cells = cells_of(line);
    std::map<std::string, std::string> row;
    for (std::size_t i = 0; i < std::min(cells.size(), columns.size()); ++i) row[columns[i]] = cells[i];
    const auto train_loss = number(row, "train_loss"), train_error = number(row, "train_error");
    if (!train_loss || !train_error) fail(ErrorKind::data, summary.string() + " is damaged");
    const auto validation = number(row, "validation_error");
    if (validation) result.validation_error = std::min(*validation, result.validation_error.value_or(1.0));
    result.epochs.push_back({*train_loss, *train_error,
                             validation ? number(row, "validation_loss") : number(row, "test_loss"),
                             validation ? validation : number(row, "test_error")});
    result.seconds += number(row, "seconds").value_or(0.0);
  }
}

/// The first line in which two configurations differ.
std::string difference(const std::string& ended, const std::string& wanted) {
  std::istringstream left(ended), right(wanted);
  std::string a, b;
  do {
    a.clear();
    b.clear();
    std::getline(left, a);
    std::getline(right, b);
  } while (a == b && left && right);
  return fmt::format("'{}' there, '{}' now", a, b);
}

}  // namespace

RunFiles::RunFiles(const fs::path& folder, const std::string& key, std::int64_t seed)
    : run(folder / fmt::format("{}-seed{}", key, seed)), config(run), result(run) {
  config += ".toml";
  result += ".json";
}

void write_result(const RunFiles& files, const TrainOptions& options, const std::string& output,
                  bool may_diverge) {
  const bool diverged = may_diverge && output.empty();
  nlohmann::ordered_json result;
  if (!diverged) result = nlohmann::ordered_json::parse(output, nullptr, false);
  if (!diverged && (!result.is_object() || !result.contains("test_error")))
    fail(ErrorKind::data, fmt::format("the training in {} printed no result", files.run.string()));
  result["diverged"] = diverged;
  result["settings"] = compared_config(options);
  replace_file(files.result,
               result.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + '\n');
}

std::optional<RunResult> read_result(const RunFiles& files, const TrainOptions& options) {
  std::ifstream file(files.result, std::ios::binary);
  if (!file) return std::nullopt;
  const std::string text(std::istreambuf_iterator<char>(file), {});
  RunResult result;
  result.seed = options.seed;
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    const std::string ended = json.at("settings"), wanted = compared_config(options);
    if (ended != wanted)
      fail(ErrorKind::usage,
           fmt::format("{} is of a run with other settings ({}); choose another folder with --out",
                       files.result.string(), difference(ended, wanted)));
    result.diverged = json.at("diverged");
    if (!result.diverged) {
      result.test_error = json.at("test_error");
      result.data = json.at("data");
    }
  } catch (const nlohmann::json::exception&) {
    fail(ErrorKind::data,
         fmt::format("{} is damaged; remove it and the run is continued", files.result.string()));
  }
  read_epochs(files.run / "summary.csv", result);
  return result;
}

}  // namespace zeroth::app
