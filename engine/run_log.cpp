#include "engine/run_log.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

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

/// Drops the lines of steps after `steps_taken` and a last line without its end.
template <class StepOf>
void cut(const fs::path& path, std::string_view heading, std::int64_t steps_taken, StepOf&& step_of) {
  std::string kept(heading);
  const std::string old = steps_taken == 0 ? "" : contents(path);
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
  cut(steps_path_, "", steps_taken, step_of_json);
  cut(epochs_path_, kColumns, steps_taken, step_of_row);
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
