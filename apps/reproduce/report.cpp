#include "apps/reproduce/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include "apps/plot/drawing.h"
#include "apps/reproduce/curves.h"
#include "engine/atomic_file.h"
#include "engine/progress.h"

namespace zeroth::app {

namespace {

constexpr const char* kNothing = "-";

/// "7.63 ± 0.12", the deviation being that of the runs about their mean; of one run its value alone.
std::string mean_text(const std::vector<double>& values, int digits) {
  if (values.empty()) return kNothing;
  double mean = 0.0, squares = 0.0;
  for (const double value : values) mean += value / static_cast<double>(values.size());
  for (const double value : values) squares += (value - mean) * (value - mean);
  if (values.size() == 1) return fmt::format("{:.{}f}", mean, digits);
  return fmt::format("{:.{}f} ± {:.{}f}", mean, digits,
                     std::sqrt(squares / static_cast<double>(values.size() - 1)), digits);
}

/// The mean over the runs of what `value` gives; runs for which it gives nothing are left out.
std::string mean_of(const std::vector<RunResult>& runs, int digits,
                    const std::function<std::optional<double>(const RunResult&)>& value) {
  std::vector<double> values;
  for (const RunResult& run : runs)
    if (const auto one = value(run)) values.push_back(*one);
  return mean_text(values, digits);
}

/// Epochs until the training accuracy was reached, in those runs that reached it.
std::string epochs_until(const std::vector<RunResult>& runs, double accuracy) {
  std::vector<double> values;
  for (const RunResult& run : runs)
    for (std::size_t epoch = 0; epoch < run.epochs.size(); ++epoch)
      if (1.0 - run.epochs[epoch].train_error >= accuracy) {
        values.push_back(static_cast<double>(epoch + 1));
        break;
      }
  if (values.empty()) return runs.empty() ? kNothing : "not reached";
  const std::string missed =
      values.size() < runs.size() ? fmt::format(" ({} not)", runs.size() - values.size()) : "";
  return mean_text(values, 1) + missed;
}

std::string error_cell(const std::optional<double>& percent) {
  return percent ? fmt::format("{:.2f}", *percent) : kNothing;
}

std::string runs_cell(const ReportRow& row, std::int64_t seeds) {
  if (!row.row->missing.empty()) return "none: " + row.row->missing;
  const auto diverged =
      std::count_if(row.runs.begin(), row.runs.end(), [](const auto& r) { return r.diverged; });
  return fmt::format("{} of {}{}", row.runs.size(), seeds,
                     diverged == 0 ? "" : fmt::format(", {} diverged", diverged));
}

struct Columns {
  bool published = false, published_validation = false, paper = false, validation = false;
};

Columns columns_of(const Report& report) {
  Columns columns;
  for (const ReportRow& row : report.rows) {
    columns.published = columns.published || row.row->published != nullptr;
    columns.published_validation = columns.published_validation ||
                                   (row.row->published != nullptr && row.row->published->validation_error);
    columns.paper = columns.paper || row.row->paper != nullptr;
    for (const RunResult& run : row.runs) columns.validation = columns.validation || run.validation_error;
  }
  return columns;
}

std::vector<std::string> headings(const Report& report, const Columns& columns) {
  std::vector<std::string> cells = report.table->trait_names;
  cells.emplace_back("parameters");
  if (columns.published) cells.emplace_back("published epochs");
  if (columns.published_validation) cells.emplace_back("published validation error %");
  if (columns.published) cells.emplace_back("published test error %");
  if (columns.published_validation) cells.emplace_back("published time");
  if (columns.paper) cells.emplace_back("paper test error %");
  const std::string ours = report.mark.empty() ? "zeroth" : fmt::format("zeroth ({})", report.mark);
  cells.push_back(ours + ": runs");
  cells.emplace_back("epochs");
  if (columns.validation) cells.emplace_back("validation error %");
  cells.emplace_back("test error %");
  cells.push_back(fmt::format("epochs to {:g} % training accuracy", 100.0 * report.training_accuracy));
  cells.emplace_back("time");
  return cells;
}

std::string grouped(std::int64_t count) {
  std::string digits = std::to_string(count);
  for (std::size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

std::vector<std::string> line_of(const Report& report, const ReportRow& row, const Columns& columns) {
  std::vector<std::string> cells = row.row->traits;
  cells.push_back(grouped(row.parameters));
  const Published none{}, &published = row.row->published != nullptr ? *row.row->published : none;
  if (columns.published) cells.push_back(published.epochs ? std::to_string(*published.epochs) : kNothing);
  if (columns.published_validation) cells.push_back(error_cell(published.validation_error));
  if (columns.published) cells.push_back(error_cell(published.test_error));
  if (columns.published_validation) cells.push_back(published.time.empty() ? kNothing : published.time);
  if (columns.paper)
    cells.push_back(row.row->paper != nullptr ? error_cell(row.row->paper->test_error) : kNothing);
  std::vector<RunResult> whole = row.runs;
  std::erase_if(whole, [](const RunResult& run) { return run.diverged; });
  cells.push_back(runs_cell(row, report.seeds));
  cells.push_back(
      mean_of(whole, 0, [](const RunResult& run) { return static_cast<double>(run.epochs.size()); }));
  if (columns.validation)
    cells.push_back(mean_of(whole, 2, [](const RunResult& run) {
      return run.validation_error ? std::optional(100.0 * *run.validation_error) : std::nullopt;
    }));
  cells.push_back(mean_of(whole, 2, [](const RunResult& run) { return 100.0 * run.test_error; }));
  cells.push_back(epochs_until(row.runs, report.training_accuracy));
  double seconds = 0.0;
  for (const RunResult& run : whole) seconds += run.seconds / static_cast<double>(whole.size());
  cells.push_back(whole.empty() ? kNothing : duration_text(seconds));
  return cells;
}

std::vector<std::string> notes(const Report& report) {
  std::vector<std::string> lines;
  if (!report.mark.empty())
    lines.push_back(fmt::format("Not the published training: {}. These numbers say nothing of a whole one.",
                                report.mark));
  std::set<std::string> data;
  std::int64_t ended = 0, wanted = 0;
  for (const ReportRow& row : report.rows) {
    if (row.row->missing.empty()) wanted += report.seeds;
    ended += static_cast<std::int64_t>(row.runs.size());
    for (const RunResult& run : row.runs)
      if (!run.diverged) data.insert(run.data);
  }
  if (ended < wanted)
    lines.push_back(fmt::format("{} of {} runs have ended; the others are not in here.", ended, wanted));
  if (!data.empty()) {
    const bool official = data.size() == 1 && *data.begin() == "cifar10";
    lines.push_back(fmt::format("Trained on: {}{}.", fmt::join(data, ", "),
                                official ? "" : ", which is not the official files of CIFAR-10"));
  }
  lines.push_back(
      "Mean ± deviation over the seeds; time: of the epochs of one run, evaluation included. The "
      "standard error of one error rate of 6 % on 10,000 pictures is 0.24 points.");
  lines.push_back(report.table->source);
  lines.push_back(fmt::format("Recipe: `zeroth recipes {}`.", report.table->recipe));
  return lines;
}

std::string title(const Report& report) {
  return report.table->title + (report.mark.empty() ? "" : " (" + report.mark + ")");
}

std::string escaped(const std::string& text) {
  std::string safe;
  for (const char c : text)
    if (c == '&')
      safe += "&amp;";
    else if (c == '<')
      safe += "&lt;";
    else if (c == '>')
      safe += "&gt;";
    else if (c == '"')
      safe += "&quot;";
    else
      safe += c;
  return safe;
}

std::string base64(const std::string& bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j)
      group = group << 8U | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    for (std::size_t j = 0; j < 4; ++j)
      text += i + j <= bytes.size() ? kDigits[group >> (18 - 6 * j) & 63U] : '=';
  }
  return text;
}

std::string html_table(const Cells& cells) {
  std::string text = "<table>\n";
  for (std::size_t i = 0; i < cells.size(); ++i) {
    text += "<tr>";
    for (const std::string& cell : cells[i])
      text += fmt::format("<{0}>{1}</{0}>", i == 0 ? "th" : "td", escaped(cell));
    text += "</tr>\n";
  }
  return text + "</table>\n";
}

struct DrawnPicture {
  std::string file, title, png;
};

std::string to_html(const Report& report, const std::vector<DrawnPicture>& pictures) {
  std::string text = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title>\n<style>\n"
      "body {{ font-family: sans-serif; max-width: 80em; margin: 2em auto; padding: 0 1em; }}\n"
      "table {{ border-collapse: collapse; }} th, td {{ border: 1px solid #bbb; padding: 0.3em 0.6em; }}\n"
      "th {{ background: #eee; }} img {{ max-width: 100%; width: 60em; "
      "}}\n</style></head><body>\n<h1>{0}</h1>\n",
      escaped(title(report)));
  text += html_table(table_cells(report));
  for (const std::string& note : notes(report)) text += fmt::format("<p>{}</p>\n", escaped(note));
  for (const DrawnPicture& picture : pictures)
    text += fmt::format("<p><img alt=\"{}\" src=\"data:image/png;base64,{}\"></p>\n", escaped(picture.title),
                        base64(picture.png));
  return text + "</body></html>\n";
}

}  // namespace

Cells table_cells(const Report& report) {
  const Columns columns = columns_of(report);
  Cells cells{headings(report, columns)};
  for (const ReportRow& row : report.rows) cells.push_back(line_of(report, row, columns));
  return cells;
}

std::string to_markdown(const Report& report, const std::vector<std::string>& pictures) {
  std::string text = fmt::format("# {}\n\n", title(report));
  const Cells cells = table_cells(report);
  for (std::size_t i = 0; i < cells.size(); ++i) {
    text += fmt::format("| {} |\n", fmt::join(cells[i], " | "));
    if (i > 0) continue;
    for (std::size_t column = 0; column < cells[0].size(); ++column) text += "|---";
    text += "|\n";
  }
  for (const std::string& note : notes(report)) text += '\n' + note + '\n';
  for (const std::string& picture : pictures) text += fmt::format("\n![{0}]({0})\n", picture);
  return text;
}

void write_report(const Report& report, const std::filesystem::path& folder) {
  std::vector<DrawnPicture> pictures;
  std::vector<std::string> names;
  for (const Picture& picture : draw_curves(report)) {
    pictures.push_back({picture.file, picture.chart.title, plot::to_png(plot::draw(picture.chart), 1.5)});
    replace_file(folder / picture.file, pictures.back().png);
    names.push_back(picture.file);
  }
  replace_file(folder / "report.md", to_markdown(report, names));
  replace_file(folder / "report.html", to_html(report, pictures));
}

}  // namespace zeroth::app
