#include "engine/run_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "engine/atomic_file.h"
#include "kernels/core/error.h"

namespace zeroth {
namespace fs = std::filesystem;

namespace {

constexpr const char* kColumns =
    "epoch,step,lr,train_loss,train_error,validation_loss,validation_error,test_loss,test_error,"
    "images_per_second,seconds,gradient_norm,loss_scale,skipped_steps,data\n";

std::string contents(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return "";
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The step of a line of either file, or nothing where there is none.
std::optional<std::int64_t> step_of_json(const std::string& line) {
  const nlohmann::json record = nlohmann::json::parse(line, nullptr, false);
  if (!record.is_object() || !record.contains("step") || !record["step"].is_number_integer())
    return std::nullopt;
  return record["step"].get<std::int64_t>();
}

std::optional<std::int64_t> step_of_row(const std::string& line) {
  const std::size_t comma = line.find(',');
  std::int64_t step = 0;
  if (comma == std::string::npos) return std::nullopt;
  const char *begin = line.data() + comma + 1, *end = line.data() + line.size();
  const auto [rest, status] = std::from_chars(begin, end, step);
  if (status != std::errc() || rest == end || *rest != ',') return std::nullopt;
  return step;
}

std::vector<std::string> names_in(std::string_view heading) {
  std::vector<std::string> names;
  for (std::size_t comma = 0; comma != std::string_view::npos;) {
    comma = heading.find(',');
    names.emplace_back(heading.substr(0, comma));
    heading.remove_prefix(comma == std::string_view::npos ? heading.size() : comma + 1);
  }
  return names;
}

/// A table of epochs with today's columns: older ones had fewer. Cells that are missing stay empty. The last
/// column may hold commas.
std::string with_all_columns(const fs::path& path, const std::string& table) {
  const std::size_t end = table.find('\n');
  if (table.starts_with(kColumns) || end == std::string::npos) return table;
  const std::vector<std::string> now = names_in(
                                     std::string_view(kColumns).substr(0, std::strlen(kColumns) - 1)),
                                 then = names_in(std::string_view(table).substr(0, end));
  // Where each of today's columns was then.
  std::vector<std::size_t> place;
  for (const std::string& name : now)
    place.push_back(static_cast<std::size_t>(std::find(then.begin(), then.end(), name) - then.begin()));
  const auto known =
      std::count_if(place.begin(), place.end(), [&](std::size_t p) { return p < then.size(); });
  if (static_cast<std::size_t>(known) != then.size() || then.back() != now.back())
    fail(ErrorKind::data,
         fmt::format("{} has columns that this program does not write; move it away to resume",
                     path.string()));
  std::string all = kColumns;
  for (std::size_t begin = end + 1, stop = 0; (stop = table.find('\n', begin)) != std::string::npos;
       begin = stop + 1) {
    std::string_view rest = std::string_view(table).substr(begin, stop - begin);
    std::vector<std::string_view> cells;
    while (cells.size() + 1 < then.size() && rest.find(',') != std::string_view::npos) {
      cells.push_back(rest.substr(0, rest.find(',')));
      rest.remove_prefix(rest.find(',') + 1);
    }
    cells.push_back(rest);
    for (std::size_t column = 0; column < now.size(); ++column)
      all += fmt::format("{}{}", column == 0 ? "" : ",",
                         place[column] < cells.size() ? cells[place[column]] : std::string_view());
    all += '\n';
  }
  return all;
}

/// Drops the lines of steps after `steps_taken` and a last line without its end.
template <class StepOf>
void cut(const fs::path& path, std::string_view heading, std::string old, std::int64_t steps_taken,
         StepOf&& step_of) {
  std::string kept(heading);
  if (steps_taken == 0) old.clear();
  std::size_t begin = old.starts_with(heading) ? heading.size() : 0;
  for (int number = 1; begin < old.size(); ++number) {
    const std::size_t end = old.find('\n', begin);
    if (end == std::string::npos) break;
    const std::string line = old.substr(begin, end - begin);
    begin = end + 1;
    const std::optional<std::int64_t> step = step_of(line);
    if (!step)
      fail(ErrorKind::data, fmt::format("{}: record {} has no step; mend or remove the file to resume",
                                        path.string(), number));
    if (*step <= steps_taken) kept += line + '\n';
  }
  replace_file(path, kept);
}

nlohmann::ordered_json number(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr);
}

std::string cell(double value) {
  return std::isfinite(value) ? fmt::format("{}", value) : "";
}

template <class Number>
std::string cell(const std::optional<Number>& value) {
  return value ? cell(static_cast<double>(*value)) : "";
}

std::string cells(const std::optional<SetResult>& result) {
  return result ? cell(result->loss) + ',' + cell(result->error) : ",";
}

}  // namespace

RunLog::RunLog(const fs::path& folder, std::string data, std::int64_t steps_taken)
    : steps_path_(folder / "log.jsonl"), epochs_path_(folder / "summary.csv"), data_(std::move(data)) {
  cut(steps_path_, "", contents(steps_path_), steps_taken, step_of_json);
  std::string epochs = contents(epochs_path_);
  if (steps_taken > 0) epochs = with_all_columns(epochs_path_, epochs);
  cut(epochs_path_, kColumns, std::move(epochs), steps_taken, step_of_row);
}

void RunLog::write(const StepRecord& record) {
  nlohmann::ordered_json line;
  line["step"] = record.step;
  line["epoch"] = number(record.epoch);
  line["loss"] = number(record.loss);
  line["error"] = number(record.error);
  line["lr"] = number(record.learning_rate);
  line["images_per_second"] = number(record.images_per_second);
  if (record.of_ceiling) line["fraction_of_ceiling"] = number(*record.of_ceiling);
  if (record.gradient_norm) line["gradient_norm"] = number(*record.gradient_norm);
  if (record.loss_scale) line["loss_scale"] = number(*record.loss_scale);
  if (record.skipped_steps) line["skipped_steps"] = *record.skipped_steps;
  for (const auto& [name, value] : record.alphas) line["alphas"][name] = number(value);
  line["data"] = data_;
  append_file(steps_path_, line.dump() + '\n');
}

void RunLog::write(const EpochRecord& record) {
  append_file(
      epochs_path_,
      fmt::format("{},{},{},{},{},{},{},{},{},{},{},{}\n", record.epoch, record.step,
                  cell(record.learning_rate), cells(record.train), cells(record.validation),
                  cells(record.test), cell(record.images_per_second), cell(record.seconds),
                  cell(record.gradient_norm), cell(record.loss_scale), cell(record.skipped_steps), data_));
}

}  // namespace zeroth
