#include "apps/bench/kernel_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/command_line.h"
#include "apps/plot/chart.h"

namespace zeroth::app {

namespace {

/// Rates of a call that was timed.
struct Rates {
  double bytes, flops;                       ///< a second
  std::optional<double> of_copy, of_matrix;  ///< share of the ceilings
  std::optional<double> speedup;             ///< time of the library's row over this one's
};

Rates rates_of(const BenchSetting& setting, const CallResult& call, const RowResult& row) {
  const double seconds = row.ms.median / 1e3;
  Rates rates{call.bytes / seconds, call.flops / seconds, {}, {}, {}};
  if (setting.ceilings.copy > 0.0) rates.of_copy = rates.bytes / setting.ceilings.copy;
  if (setting.ceilings.matrix > 0.0) rates.of_matrix = rates.flops / setting.ceilings.matrix;
  if (const RowResult* library = call.library()) rates.speedup = library->ms.median / row.ms.median;
  return rates;
}

std::string percent_text(const std::optional<double>& share) {
  return share ? fmt::format("{:.0f} %", 100.0 * *share) : "-";
}

/// Time with three digits or so, whatever its size.
std::string ms_text(double ms) {
  return ms >= 100.0  ? fmt::format("{:.0f}", ms)
         : ms >= 10.0 ? fmt::format("{:.1f}", ms)
         : ms >= 1.0  ? fmt::format("{:.2f}", ms)
                      : fmt::format("{:.4f}", ms);
}

/// What one operation takes in a training step of one shape.
struct Total {
  std::string operation;
  int calls = 0;
  double floor_ms = 0.0, fastest_ms = 0.0;
  bool complete = true;                        ///< every call has a row that was timed
  std::vector<std::optional<double>> rows_ms;  ///< of each row; nothing where it does not serve every call
};

/// Rows that were timed, in the order in which they were met.
std::vector<std::string> row_names(const std::vector<CallResult>& results) {
  std::vector<std::string> names;
  for (const CallResult& call : results)
    for (const RowResult& row : call.rows)
      if (std::find(names.begin(), names.end(), row.row) == names.end()) names.push_back(row.row);
  return names;
}

std::vector<Total> totals_of(const BenchSetting& setting, const std::vector<CallResult>& results,
                             std::size_t shape) {
  const std::vector<std::string> names = row_names(results);
  std::vector<Total> totals;
  for (const CallResult& call : results) {
    const int count = call.counts[shape];
    if (count == 0) continue;
    auto total = std::find_if(totals.begin(), totals.end(),
                              [&](const Total& t) { return t.operation == call.operation; });
    if (total == totals.end())
      total = totals.insert(
          total, {call.operation, 0, 0.0, 0.0, true, std::vector<std::optional<double>>(names.size(), 0.0)});
    total->calls += count;
    total->floor_ms += count * 1e3 * call.floor_seconds(setting.ceilings);
    double fastest = 1e300;
    for (std::size_t i = 0; i < names.size(); ++i) {
      const RowResult* row = call.find(names[i]);
      std::optional<double>& sum = total->rows_ms[i];
      if (row == nullptr || !row->timed()) {
        sum.reset();
        continue;
      }
      if (sum) *sum += count * row->ms.median;
      fastest = std::min(fastest, row->ms.median);
    }
    total->complete = total->complete && fastest < 1e300;
    if (total->complete) total->fastest_ms += count * fastest;
  }
  return totals;
}

nlohmann::ordered_json optional_json(const std::optional<double>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
}

}  // namespace

std::string to_string(const BenchShape& shape) {
  return fmt::format("{}@{}", shape.model, shape.batch);
}

std::string heading_text(const BenchSetting& setting) {
  std::string text =
      fmt::format("{} on {} ({})\n", name_of(setting.dtype), setting.device, setting.processor);
  if (setting.ceilings.copy <= 0.0)
    return text + "simt runs kernels thread by thread: results are checked, times would say nothing\n";
  text +=
      fmt::format("measured ceilings: copy {:.1f} GB/s (read and written), matrix product {:.4g} TFLOP/s\n",
                  setting.ceilings.copy / 1e9, setting.ceilings.matrix / 1e12);
  const double rotate =
      setting.options.rotate >= 0.0 ? setting.options.rotate : 2.0 * static_cast<double>(setting.cache);
  text +=
      fmt::format("last cache {:.1f} MB, operands rotate over {:.1f} MB or more; {} rounds, rows in turns\n",
                  static_cast<double>(setting.cache) / 1e6, rotate / 1e6, setting.options.rounds);
  return text;
}

std::string call_text(const BenchSetting& setting, const CallResult& result, const CallResult* before) {
  std::string text;
  const bool timed = setting.ceilings.copy > 0.0;
  if (before == nullptr || before->problem != result.problem) {
    text += fmt::format("\n{}   checked with {} picture{}\n", result.problem, result.checked,
                        result.checked == 1 ? "" : "s");
    if (timed)
      text += fmt::format("  {:<24}{:<10}{:>9}  {:<19}{:>7}{:>7}{:>9}{:>9}{:>9}\n", "pass", "row", "ms",
                          "(quartiles)", "GB/s", "copy", "TFLOP/s", "matrix", "library");
  }
  if (result.rows.empty()) text += fmt::format("  {:<24}no row\n", result.pass);
  for (const RowResult& row : result.rows) {
    const std::string begin = fmt::format("  {:<24}{:<10}", result.pass, row.row);
    if (!row.fault.empty()) {
      text += fmt::format("{}WRONG: {}\n", begin, row.fault);
    } else if (!row.timed()) {
      text += begin + "right\n";
    } else {
      const Rates rates = rates_of(setting, result, row);
      text += fmt::format("{}{:>9}  {:<19}{:>7.1f}{:>7}{:>9}{:>9}{:>9}\n", begin, ms_text(row.ms.median),
                          fmt::format("({} - {})", ms_text(row.ms.low), ms_text(row.ms.high)),
                          rates.bytes / 1e9, percent_text(rates.of_copy),
                          result.flops > 0.0 ? fmt::format("{:.4f}", rates.flops / 1e12) : "-",
                          result.flops > 0.0 ? percent_text(rates.of_matrix) : "-",
                          rates.speedup ? fmt::format("{:.2f} x", *rates.speedup) : "-");
    }
  }
  return text;
}

std::string totals_text(const BenchSetting& setting, const std::vector<CallResult>& results) {
  if (setting.ceilings.copy <= 0.0) return "";
  const std::vector<std::string> names = row_names(results);
  std::string text;
  for (std::size_t shape = 0; shape < setting.shapes.size(); ++shape) {
    text +=
        fmt::format("\none training step of {}: ms, medians times calls\n", to_string(setting.shapes[shape]));
    text += fmt::format("  {:<24}{:>6}{:>10}{:>10}", "operation", "calls", "floor", "fastest");
    for (const std::string& name : names) text += fmt::format("{:>11}", name);
    text += '\n';
    Total sum{"all of these", 0, 0.0, 0.0, true, std::vector<std::optional<double>>(names.size(), 0.0)};
    std::vector<Total> totals = totals_of(setting, results, shape);
    for (const Total& total : totals) {
      sum.calls += total.calls, sum.floor_ms += total.floor_ms, sum.fastest_ms += total.fastest_ms;
      sum.complete = sum.complete && total.complete;
      for (std::size_t i = 0; i < names.size(); ++i) {
        if (!total.rows_ms[i])
          sum.rows_ms[i].reset();
        else if (sum.rows_ms[i])
          *sum.rows_ms[i] += *total.rows_ms[i];
      }
    }
    if (totals.size() > 1) totals.push_back(sum);
    for (const Total& total : totals) {
      text += fmt::format("  {:<24}{:>6}{:>10}{:>10}", total.operation, total.calls, ms_text(total.floor_ms),
                          total.complete ? ms_text(total.fastest_ms) : "-");
      for (const std::optional<double>& ms : total.rows_ms)
        text += fmt::format("{:>11}", ms ? ms_text(*ms) : "-");
      text += '\n';
    }
  }
  return text;
}

std::string bench_json(const BenchSetting& setting, const std::vector<CallResult>& results) {
  nlohmann::ordered_json json;
  json["device"] = setting.device;
  json["processor"] = setting.processor;
  json["dtype"] = name_of(setting.dtype);
  json["copy_bytes_per_second"] = setting.ceilings.copy;
  json["matrix_flops_per_second"] = setting.ceilings.matrix;
  json["cache_bytes"] = setting.cache;
  json["rounds"] = setting.options.rounds;
  for (const BenchShape& shape : setting.shapes) json["shapes"].push_back(to_string(shape));
  json["calls"] = nlohmann::ordered_json::array();
  for (const CallResult& call : results) {
    nlohmann::ordered_json line{{"operation", call.operation},
                                {"problem", call.problem},
                                {"pass", call.pass},
                                {"bytes", call.bytes},
                                {"flops", call.flops},
                                {"checked_pictures", call.checked},
                                {"rotated_bytes", call.rotated},
                                {"floor_ms", 1e3 * call.floor_seconds(setting.ceilings)}};
    for (std::size_t shape = 0; shape < setting.shapes.size(); ++shape)
      line["calls_a_step"][to_string(setting.shapes[shape])] = call.counts[shape];
    line["rows"] = nlohmann::ordered_json::array();
    for (const RowResult& row : call.rows) {
      nlohmann::ordered_json entry{{"row", row.row}, {"right", row.fault.empty()}};
      if (!row.fault.empty()) entry["fault"] = row.fault;
      if (row.timed()) {
        const Rates rates = rates_of(setting, call, row);
        entry.update({{"ms", row.ms.median},
                      {"ms_low", row.ms.low},
                      {"ms_high", row.ms.high},
                      {"calls_a_round", row.calls},
                      {"bytes_per_second", rates.bytes},
                      {"flops_per_second", rates.flops},
                      {"of_copy", optional_json(rates.of_copy)},
                      {"of_matrix", optional_json(rates.of_matrix)},
                      {"library_ratio", optional_json(rates.speedup)}});
      }
      line["rows"].push_back(entry);
    }
    json["calls"].push_back(line);
  }
  if (setting.ceilings.copy > 0.0) {
    const std::vector<std::string> names = row_names(results);
    for (std::size_t shape = 0; shape < setting.shapes.size(); ++shape)
      for (const Total& total : totals_of(setting, results, shape)) {
        nlohmann::ordered_json line{{"calls", total.calls}, {"floor_ms", total.floor_ms}};
        line["fastest_ms"] =
            total.complete ? nlohmann::ordered_json(total.fastest_ms) : nlohmann::ordered_json();
        for (std::size_t i = 0; i < names.size(); ++i)
          if (total.rows_ms[i]) line["rows_ms"][names[i]] = *total.rows_ms[i];
        json["totals"][to_string(setting.shapes[shape])][total.operation] = line;
      }
  }
  return json_line(json);
}

std::string bench_csv(const BenchSetting& setting, const std::vector<CallResult>& results) {
  std::string text =
      "device,dtype,operation,problem,pass,row,right,checked_pictures,ms,ms_low,ms_high,bytes,flops,"
      "bytes_per_second,flops_per_second,of_copy,of_matrix,library_ratio\n";
  const auto number = [](const std::optional<double>& value) {
    return value ? fmt::format("{:.6g}", *value) : std::string();
  };
  for (const CallResult& call : results)
    for (const RowResult& row : call.rows) {
      text += fmt::format("{},{},{},\"{}\",\"{}\",{},{},{},", setting.device, name_of(setting.dtype),
                          call.operation, call.problem, call.pass, row.row, row.fault.empty() ? "yes" : "no",
                          call.checked);
      if (!row.timed()) {
        text += fmt::format(",,,{:.0f},{:.0f},,,,,\n", call.bytes, call.flops);
        continue;
      }
      const Rates rates = rates_of(setting, call, row);
      text += fmt::format("{:.6g},{:.6g},{:.6g},{:.0f},{:.0f},{:.6g},{:.6g},{},{},{}\n", row.ms.median,
                          row.ms.low, row.ms.high, call.bytes, call.flops, rates.bytes, rates.flops,
                          number(rates.of_copy), number(rates.of_matrix), number(rates.speedup));
    }
  return text;
}

plot::Drawing roofline(const BenchSetting& setting, const std::vector<CallResult>& results) {
  constexpr std::size_t kLabels = 12;
  const auto& [copy, matrix] = setting.ceilings;
  std::vector<std::string> shapes;
  for (const BenchShape& shape : setting.shapes) shapes.push_back(to_string(shape));
  plot::Chart chart;
  chart.title = fmt::format("Kernels on {}, {}", setting.processor, name_of(setting.dtype));
  chart.subtitle = fmt::format("{}; a point a call, all bytes from memory", fmt::join(shapes, ", "));
  chart.x.title = "FLOP per byte that has to move";
  chart.y.title = "TFLOP/s";
  chart.x.logarithmic = chart.y.logarithmic = true;

  // The names of what takes longest in a step; the same call of other rows lies right above or below.
  std::vector<const CallResult*> longest;
  const auto step_ms = [](const CallResult& call) {
    double ms = 0.0;
    for (const RowResult& row : call.rows)
      ms = std::max(ms, row.ms.median * *std::max_element(call.counts.begin(), call.counts.end()));
    return ms;
  };
  double low = 1e300, high = 0.0;
  for (const CallResult& call : results) {
    if (call.flops <= 0.0 ||
        std::none_of(call.rows.begin(), call.rows.end(), [](const RowResult& row) { return row.timed(); }))
      continue;
    longest.push_back(&call);
    low = std::min(low, call.flops / call.bytes);
    high = std::max(high, call.flops / call.bytes);
  }
  std::sort(longest.begin(), longest.end(),
            [&](const CallResult* a, const CallResult* b) { return step_ms(*a) > step_ms(*b); });
  if (longest.size() > kLabels) longest.resize(kLabels);

  if (copy > 0.0 && matrix > 0.0 && high > 0.0) {
    constexpr plot::Colour kRoof{110, 110, 110};
    const double ridge = matrix / copy;
    low = std::min(low, ridge) / 1.5, high = std::max(high, ridge) * 1.5;
    chart.series.push_back({fmt::format("copy, {:.4g} GB/s", copy / 1e9),
                            {{low, low * copy / 1e12}, {ridge, matrix / 1e12}},
                            {},
                            kRoof});
    chart.series.push_back({fmt::format("matrix product, {:.4g} TFLOP/s", matrix / 1e12),
                            {{ridge, matrix / 1e12}, {high, matrix / 1e12}},
                            {},
                            kRoof,
                            2.0,
                            6.0});
  }
  std::vector<const CallResult*> unnamed = longest;
  const std::vector<std::string> names = row_names(results);
  for (std::size_t i = 0; i < names.size(); ++i) {
    plot::Series series;
    series.name = names[i];
    series.colour = plot::palette(i);
    series.marker = plot::marker_shape(i);
    series.hollow = plot::marker_hollow(i);
    series.line_width = 0.0;
    for (const CallResult& call : results) {
      const RowResult* row = call.find(names[i]);
      if (row == nullptr || !row->timed() || call.flops <= 0.0) continue;
      series.points.push_back({call.flops / call.bytes, call.flops / row->ms.median / 1e9});
      const auto named = std::find(unnamed.begin(), unnamed.end(), &call);
      series.labels.push_back(
          named == unnamed.end() ? "" : call.problem.substr(0, call.problem.rfind(' ')) + ", " + call.pass);
      if (named != unnamed.end()) unnamed.erase(named);
    }
    if (!series.points.empty()) chart.series.push_back(std::move(series));
  }
  return draw(chart, 1180.0, 720.0);
}

void refuse_wrong(const std::vector<CallResult>& results) {
  int wrong = 0;
  for (const CallResult& call : results)
    for (const RowResult& row : call.rows) wrong += !row.fault.empty();
  if (wrong > 0)
    fail(ErrorKind::runtime,
         fmt::format("{} result{} wrong: WRONG in the table, \"right\": false in JSON, no in CSV", wrong,
                     wrong == 1 ? " of a row is" : "s of rows are"));
}

}  // namespace zeroth::app
