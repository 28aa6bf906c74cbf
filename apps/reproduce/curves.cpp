#include "apps/reproduce/curves.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <set>

namespace zeroth::app {

namespace {

constexpr std::size_t kBeginning = 30, kFewRows = 3;

using Value = std::function<std::optional<double>(const EpochResult&)>;

/// The mean over those runs that have trained the epoch.
std::vector<plot::Point> mean_curve(const std::vector<RunResult>& runs, std::size_t epochs,
                                    const Value& value) {
  std::vector<plot::Point> points;
  for (std::size_t epoch = 0; epoch < epochs; ++epoch) {
    double sum = 0.0;
    int count = 0;
    for (const RunResult& run : runs) {
      const auto one = epoch < run.epochs.size() ? value(run.epochs[epoch]) : std::nullopt;
      sum += one.value_or(0.0);
      count += one ? 1 : 0;
    }
    if (count > 0) points.push_back({static_cast<double>(epoch + 1), sum / count});
  }
  return points;
}

std::size_t longest(const std::vector<const ReportRow*>& rows) {
  std::size_t epochs = 0;
  for (const ReportRow* row : rows)
    for (const RunResult& run : row->runs) epochs = std::max(epochs, run.epochs.size());
  return epochs;
}

plot::Chart chart_of(const Report& report, const std::vector<const ReportRow*>& rows, bool error,
                     std::size_t epochs) {
  const std::string& group = rows.front()->row->group;
  plot::Chart chart;
  // The mark may be long: in the smaller line, with one word of it in the title.
  chart.title =
      fmt::format("{}, {}: {}{}", report.table->title, group, error ? "error" : "loss",
                  report.mark.empty() ? "" : " (" + report.mark.substr(0, report.mark.find(':')) + ")");
  const bool few = rows.size() <= kFewRows;
  chart.subtitle = fmt::format("{}{}; {}, mean over the seeds", report.mark,
                               epochs < longest(rows) ? fmt::format("; the first {} epochs", epochs) : "",
                               few ? "solid: held out, dashed: training" : "training");
  if (report.mark.empty()) chart.subtitle = chart.subtitle.substr(2);
  chart.x = {.title = "epoch",
             .low = 1.0,
             .high = static_cast<double>(std::max<std::size_t>(epochs, 2)),
             .whole = true};
  chart.y = {.title = error ? "error, %" : "loss", .logarithmic = !error};
  if (error) chart.y.low = 0.0;
  const Value held_out = [error](const EpochResult& e) -> std::optional<double> {
    if (error) return e.held_out_error ? std::optional(100.0 * *e.held_out_error) : std::nullopt;
    return e.held_out_loss;
  };
  const Value training = [error](const EpochResult& e) -> std::optional<double> {
    return error ? 100.0 * e.train_error : e.train_loss;
  };
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::string label = rows[i]->row->label();
    const auto add = [&](plot::Series series) {
      // One epoch alone is a point; a curve would not be seen.
      plot::set_look(series, i, rows.size(), epochs < 2);
      chart.series.push_back(std::move(series));
    };
    if (few) add({.name = label, .points = mean_curve(rows[i]->runs, epochs, held_out)});
    add({.name = few ? label + ", training" : label,
         .points = mean_curve(rows[i]->runs, epochs, training),
         .line_width = few ? 1.2 : 2.0,
         .dash = few || i % 2 == 1 ? 5.0 : 0.0});
  }
  return chart;
}

std::string file_name(std::string group, const char* what, bool beginning) {
  std::transform(group.begin(), group.end(), group.begin(), [](unsigned char c) {
    return std::isalnum(c) != 0 ? static_cast<char>(std::tolower(c)) : '-';
  });
  return fmt::format("{}-{}{}.png", group, what,
                     beginning ? fmt::format("-first-{}-epochs", kBeginning) : "");
}

}  // namespace

std::vector<Picture> draw_curves(const Report& report) {
  std::vector<Picture> pictures;
  std::set<std::string> drawn;
  for (const ReportRow& first : report.rows) {
    if (!drawn.insert(first.row->group).second) continue;
    std::vector<const ReportRow*> rows;
    for (const ReportRow& row : report.rows)
      if (row.row->group == first.row->group && !row.runs.empty()) rows.push_back(&row);
    const std::size_t epochs = longest(rows);
    if (epochs == 0) continue;
    for (const bool error : {true, false}) {
      const char* what = error ? "error" : "loss";
      pictures.push_back({file_name(first.row->group, what, false), chart_of(report, rows, error, epochs)});
      if (epochs > kBeginning)
        pictures.push_back(
            {file_name(first.row->group, what, true), chart_of(report, rows, error, kBeginning)});
    }
  }
  return pictures;
}

}  // namespace zeroth::app
