#include "engine/read_run_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>

#include "kernels/core/error.h"

namespace zeroth {
namespace fs = std::filesystem;

namespace {

/// The whole lines of a file.
std::vector<std::string> lines_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    fail(ErrorKind::data, fmt::format("cannot read {}: is {} a run folder of zeroth train?", path.string(),
                                      path.parent_path().string()));
  const std::string text(std::istreambuf_iterator<char>(file), {});
  std::vector<std::string> lines;
  for (std::size_t begin = 0, end = 0; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1)
    lines.push_back(text.substr(begin, end - begin));
  return lines;
}

[[noreturn]] void refuse(const fs::path& path, std::size_t line) {
  fail(ErrorKind::data, fmt::format("{}:{}: no record of a zeroth run", path.string(), line));
}

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

double number_or_none(const nlohmann::ordered_json& value) {
  return value.is_null() ? kNone : value.get<double>();
}

StepRecord step_record(const nlohmann::ordered_json& line) {
  const auto number = [&](const char* key) { return number_or_none(line.at(key)); };
  StepRecord record;
  record.step = line.at("step").get<std::int64_t>();
  record.epoch = number("epoch");
  record.loss = number("loss");
  record.error = number("error");
  record.learning_rate = number("lr");
  record.images_per_second = number("images_per_second");
  if (line.contains("fraction_of_ceiling")) record.of_ceiling = number("fraction_of_ceiling");
  if (line.contains("gradient_norm")) record.gradient_norm = number("gradient_norm");
  if (line.contains("loss_scale")) record.loss_scale = number("loss_scale");
  if (line.contains("skipped_steps")) record.skipped_steps = line["skipped_steps"].get<std::int64_t>();
  if (line.contains("alphas"))
    for (const auto& [name, value] : line["alphas"].items())
      record.alphas.emplace_back(name, number_or_none(value));
  return record;
}

/// The rows of summary.csv under its heading, which has more columns than that of older runs.
class EpochTable {
 public:
  explicit EpochTable(std::string_view heading) {
    for (std::size_t comma = 0; comma != std::string_view::npos;) {
      comma = heading.find(',');
      names_.emplace_back(heading.substr(0, comma));
      heading.remove_prefix(comma == std::string_view::npos ? heading.size() : comma + 1);
    }
  }

  /// Nothing where the row is none. `data` becomes its last cell, which may hold commas.
  std::optional<EpochRecord> record(std::string_view line, std::string& data) {
    cells_.clear();
    while (cells_.size() + 1 < names_.size()) {
      const std::size_t comma = line.find(',');
      if (comma == std::string_view::npos) return std::nullopt;
      cells_.push_back(line.substr(0, comma));
      line.remove_prefix(comma + 1);
    }
    valid_ = names_.size() > 1 && names_.back() == "data";
    EpochRecord record;
    record.epoch = integer("epoch").value_or(0);
    record.step = integer("step").value_or(0);
    valid_ = valid_ && record.epoch > 0 && record.step > 0;
    record.learning_rate = number("lr").value_or(kNone);
    record.train = {number("train_loss").value_or(kNone), number("train_error").value_or(kNone)};
    record.validation = result("validation_loss", "validation_error");
    record.test = result("test_loss", "test_error");
    record.images_per_second = number("images_per_second").value_or(kNone);
    record.seconds = number("seconds").value_or(kNone);
    record.gradient_norm = number("gradient_norm");
    record.loss_scale = number("loss_scale");
    record.skipped_steps = integer("skipped_steps");
    data = line;
    return valid_ ? std::optional(record) : std::nullopt;
  }

 private:
  /// Nothing where there is no such column, or nothing in it.
  template <class T>
  std::optional<T> parsed(const char* name) {
    for (std::size_t column = 0; column < cells_.size(); ++column) {
      if (names_[column] != name || cells_[column].empty()) continue;
      T value{};
      const char *begin = cells_[column].data(), *end = begin + cells_[column].size();
      const auto [rest, status] = std::from_chars(begin, end, value);
      valid_ = valid_ && status == std::errc() && rest == end;
      return value;
    }
    return std::nullopt;
  }
  std::optional<double> number(const char* name) { return parsed<double>(name); }
  std::optional<std::int64_t> integer(const char* name) { return parsed<std::int64_t>(name); }
  std::optional<SetResult> result(const char* loss, const char* error) {
    const std::optional<double> first = number(loss), second = number(error);
    if (!first && !second) return std::nullopt;
    return SetResult{first.value_or(kNone), second.value_or(kNone)};
  }

  std::vector<std::string> names_;
  std::vector<std::string_view> cells_;
  bool valid_ = true;
};

}  // namespace

bool RunRecords::validated() const {
  return std::any_of(epochs.begin(), epochs.end(),
                     [](const EpochRecord& record) { return record.validation.has_value(); });
}

RunRecords read_run_log(const fs::path& folder) {
  RunRecords records;
  const fs::path steps = folder / "log.jsonl", epochs = folder / "summary.csv";
  std::size_t number = 0;
  for (const std::string& line : lines_of(steps)) {
    ++number;
    try {
      const nlohmann::ordered_json record = nlohmann::ordered_json::parse(line);
      records.steps.push_back(step_record(record));
      records.data = record.at("data").get<std::string>();
    } catch (const nlohmann::json::exception&) {
      refuse(steps, number);
    }
  }
  const std::vector<std::string> rows = lines_of(epochs);
  EpochTable table(rows.empty() ? "" : rows.front());
  for (std::size_t row = 1; row < rows.size(); ++row) {
    const std::optional<EpochRecord> record = table.record(rows[row], records.data);
    if (!record) refuse(epochs, row + 1);
    records.epochs.push_back(*record);
  }
  if (records.steps.empty() && records.epochs.empty())
    fail(ErrorKind::data, fmt::format("{} has no record yet", steps.string()));
  return records;
}

}  // namespace zeroth
