#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <set>

#include "apps/alpha_curves.h"
#include "apps/command_line.h"
#include "apps/parse_value.h"
#include "apps/plot/chart.h"
#include "apps/run_history.h"
#include "apps/session.h"
#include "kernels/core/error.h"

namespace zeroth::app {

namespace {

constexpr std::size_t kMarkedPoints = 25;  // of a curve with more, markers would hide the course
constexpr std::size_t kLongestName = 28;   // letters of a legend entry
constexpr std::int64_t kMostSmoothing = 100'000;

/// A quantity that can be plotted.
struct Quantity {
  const char *title, *axis;
  double (*of_set)(const SetResult&);    ///< null: not measured on pictures, but
  double (*of_step)(const StepRecord&);  ///< of the steps as they went
  bool (*better)(double a, double b);    ///< whether a is better than b; null: neither is
  std::string (*print)(double);
};

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr const char* kAlpha = "alpha";

std::string print_percent(double value) {
  return fmt::format("{:.2f} %", value);
}

const std::map<std::string, Quantity>& quantities() {
  static const auto lesser = [](double a, double b) { return a < b; };
  static const auto greater = [](double a, double b) { return a > b; };
  static const std::map<std::string, Quantity> all{
      {"loss",
       {"Loss", "loss", [](const SetResult& set) { return set.loss; },
        [](const StepRecord& step) { return step.loss; }, lesser,
        [](double value) { return fmt::format("{:.3f}", value); }}},
      {"error",
       {"Error", "error, %", [](const SetResult& set) { return 100.0 * set.error; },
        [](const StepRecord& step) { return 100.0 * step.error; }, lesser, print_percent}},
      {"accuracy",
       {"Accuracy", "accuracy, %", [](const SetResult& set) { return 100.0 * (1.0 - set.error); },
        [](const StepRecord& step) { return 100.0 * (1.0 - step.error); }, greater, print_percent}},
      {"lr",
       {"Learning rate", "learning rate", nullptr, [](const StepRecord& step) { return step.learning_rate; },
        nullptr, nullptr}},
      {"speed",
       {"Training speed", "images a second", nullptr,
        [](const StepRecord& step) { return step.images_per_second; }, nullptr, nullptr}},
      {"gradient-norm",
       {"Gradient norm", "L2 norm of all gradients", nullptr,
        [](const StepRecord& step) { return step.gradient_norm.value_or(kNone); }, nullptr, nullptr}},
      {kAlpha, {"Alphas", "alpha", nullptr, mean_alpha, nullptr, nullptr}}};
  return all;
}

std::string quantity_names() {
  return "loss, error, accuracy, lr, speed, gradient-norm or alpha";
}

struct PlotFlags {
  std::vector<std::string> runs;
  std::string what = "error", out, epochs, smooth = "1", title;
  bool logarithmic = false;
};

struct PlotRequest {
  const Quantity& quantity;
  double first = 0.0, last = std::numeric_limits<double>::infinity();  ///< epochs
  bool cut = false;
  std::int64_t smooth = 1;
};

template <class Parse>
auto parse_flag(const char* flag, Parse&& parse) {
  try {
    return parse();
  } catch (const Error& error) {
    fail(error.kind(), fmt::format("{}: {}", flag, error.what()));
  }
}

PlotRequest read_request(const PlotFlags& flags) {
  const auto found = quantities().find(flags.what);
  if (found == quantities().end())
    fail(ErrorKind::usage, fmt::format("--what: expected one of {}, not '{}'", quantity_names(), flags.what));
  PlotRequest request{found->second};
  request.smooth = parse_flag("--smooth", [&] { return parse_integer(flags.smooth, 1, kMostSmoothing); });
  if (!flags.epochs.empty()) {
    const std::size_t colon = flags.epochs.find(':');
    parse_flag("--epochs", [&] {
      if (colon == std::string::npos)
        fail(ErrorKind::usage, fmt::format("expected a range such as 0:30, not '{}'", flags.epochs));
      const std::string from = flags.epochs.substr(0, colon), to = flags.epochs.substr(colon + 1);
      if (!from.empty()) request.first = parse_real(from, kNotNegative);
      if (!to.empty()) request.last = parse_real(to, kPositive);
      if (!(request.first < request.last))
        fail(ErrorKind::usage,
             fmt::format("expected the first epoch before the last, not '{}'", flags.epochs));
      return 0;
    });
    request.cut = true;
  }
  plot::check_drawing_path(flags.out);
  return request;
}

/// Each value becomes the mean of the `window` around it, of fewer near the ends. Values that are not finite
/// stay, and count for no other.
std::vector<plot::Point> smoothed(const std::vector<plot::Point>& points, std::int64_t window) {
  std::vector<plot::Point> result = points;
  const auto count = static_cast<std::int64_t>(points.size());
  for (std::int64_t i = 0; i < count; ++i) {
    // As many on either side, so that a straight course stays one.
    const std::int64_t reach = std::min({(window - 1) / 2, i, count - 1 - i});
    double sum = 0.0;
    std::int64_t finite = 0;
    for (std::int64_t k = i - reach; k <= i + reach; ++k)
      if (const double y = points[static_cast<std::size_t>(k)].y; std::isfinite(y)) sum += y, ++finite;
    double& y = result[static_cast<std::size_t>(i)].y;
    if (std::isfinite(y)) y = sum / static_cast<double>(finite);
  }
  return result;
}

std::vector<plot::Point> finished(std::vector<plot::Point> points, const PlotRequest& request) {
  points = smoothed(points, request.smooth);
  std::erase_if(points, [&](const plot::Point& p) { return p.x < request.first || p.x > request.last; });
  return points;
}

std::vector<plot::Point> step_curve(const RunHistory& run, const PlotRequest& request) {
  std::vector<plot::Point> points;
  for (const StepRecord& record : run.records.steps)
    points.push_back({record.epoch, request.quantity.of_step(record)});
  // Not every record has alphas: these points are joined over the others.
  if (request.quantity.of_step == mean_alpha)
    std::erase_if(points, [](const plot::Point& point) { return !std::isfinite(point.y); });
  return finished(std::move(points), request);
}

/// Of a run's epochs; of one that has hardly any, of its steps.
std::vector<plot::Point> training_curve(const RunHistory& run, const PlotRequest& request) {
  if (run.records.epochs.size() < 2) return step_curve(run, request);
  std::vector<plot::Point> points;
  for (const EpochRecord& record : run.records.epochs)
    points.push_back({static_cast<double>(record.epoch), request.quantity.of_set(record.train)});
  return finished(std::move(points), request);
}

std::vector<plot::Point> held_out_curve(const RunHistory& run, const PlotRequest& request) {
  std::vector<plot::Point> points;
  for (const EpochRecord& record : run.records.epochs)
    if (const SetResult* result = held_out(record))
      points.push_back({static_cast<double>(record.epoch), request.quantity.of_set(*result)});
  return finished(std::move(points), request);
}

/// Long names lose their middle: beginnings and ends are what tells runs apart.
std::string shortened(const std::string& name) {
  const auto begins_letter = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; };
  if (static_cast<std::size_t>(std::count_if(name.begin(), name.end(), begins_letter)) <= kLongestName)
    return name;
  std::size_t head = kLongestName / 2, tail = name.size() - kLongestName / 2;
  while (head > 0 && !begins_letter(name[head])) --head;
  while (tail < name.size() && !begins_letter(name[tail])) ++tail;
  return name.substr(0, head) + "…" + name.substr(tail);
}

/// The best of a curve as it was measured, marked on it and named in the legend.
void mark_best(plot::Chart& chart, plot::Series& curve, const RunHistory& run, std::size_t index,
               const PlotRequest& request) {
  PlotRequest measured = request;
  measured.smooth = 1;
  std::optional<plot::Point> best;
  for (const plot::Point& point : held_out_curve(run, measured))
    if (std::isfinite(point.y) && (!best || request.quantity.better(point.y, best->y))) best = point;
  if (!best) return;
  curve.name += ", best " + request.quantity.print(best->y);
  if (request.smooth > 1 || curve.points.size() <= kMarkedPoints) return;
  plot::Series point{"", {*best}};
  point.colour = curve.colour;
  point.line_width = 0.0;
  point.marker = plot::marker_shape(index);
  point.hollow = plot::marker_hollow(index);
  chart.series.push_back(std::move(point));
}

void add_run(plot::Chart& chart, const RunHistory& run, std::size_t index, std::size_t count,
             const PlotRequest& request) {
  plot::Series curve{shortened(run.marked_name()), {}};
  const bool on_sets = request.quantity.of_set != nullptr;
  curve.points = on_sets ? held_out_curve(run, request) : step_curve(run, request);
  if (on_sets) {
    plot::Series training{"", training_curve(run, request)};
    plot::set_look(training, index, count, training.points.size() == 1);
    training.line_width = 1.5;
    training.dash = 5.0;
    chart.series.push_back(std::move(training));
  }
  plot::set_look(curve, index, count, curve.points.size() <= kMarkedPoints);
  const std::size_t at = chart.series.size();
  chart.series.push_back(curve);
  if (on_sets) mark_best(chart, curve, run, index, request);
  chart.series[at].name = curve.name;
}

/// Of one run every alpha, of several the mean of each.
void add_alphas(plot::Chart& chart, const std::vector<RunHistory>& runs, const PlotRequest& request) {
  if (runs.size() > 1) {
    chart.y.title = "mean of |alpha|";
    for (std::size_t i = 0; i < runs.size(); ++i) add_run(chart, runs[i], i, runs.size(), request);
  } else {
    for (plot::Series& curve : alpha_curves(runs.front().records)) {
      curve.points = finished(std::move(curve.points), request);
      chart.series.push_back(std::move(curve));
    }
  }
  for (const RunHistory& run : runs)
    if (std::all_of(run.records.steps.begin(), run.records.steps.end(),
                    [](const StepRecord& record) { return record.alphas.empty(); }))
      fail(ErrorKind::usage,
           fmt::format("--what alpha: {} has logged none; ReZero models log them at the end of each epoch",
                       run.name));
}

/// "cifar10", or "generated and cifar10"
std::string data_of(const std::vector<RunHistory>& runs) {
  std::string text;
  std::set<std::string> seen;
  for (const RunHistory& run : runs)
    if (seen.insert(run.records.data).second) text += (text.empty() ? "" : " and ") + run.records.data;
  return text;
}

plot::Chart chart_of(const std::vector<RunHistory>& runs, const PlotFlags& flags,
                     const PlotRequest& request) {
  plot::Chart chart{flags.title.empty() ? std::string(request.quantity.title) + " by epoch" : flags.title,
                    "",
                    {"epochs"},
                    {request.quantity.axis, flags.logarithmic},
                    {}};
  if (request.cut) {
    chart.x.low = request.first;
    if (std::isfinite(request.last)) chart.x.high = request.last;
  } else {
    chart.x.low = 0.0;
  }
  chart.x.whole = true;
  chart.subtitle = "data: " + data_of(runs);
  if (request.smooth > 1) chart.subtitle += fmt::format(", each value the mean of {}", request.smooth);
  if (flags.what == kAlpha)
    add_alphas(chart, runs, request);
  else
    for (std::size_t i = 0; i < runs.size(); ++i) add_run(chart, runs[i], i, runs.size(), request);
  std::size_t points = 0;
  for (const plot::Series& series : chart.series) points += series.points.size();
  if (points == 0)
    fail(ErrorKind::usage, fmt::format("--epochs {}: no run has a record there", flags.epochs));
  if (request.quantity.of_set != nullptr) {
    bool validated = false, tested = false;
    for (const RunHistory& run : runs) (run.records.validated() ? validated : tested) = true;
    const char* name = validated ? (tested ? "validation or test" : "validation") : "test";
    constexpr plot::Colour kGrey{90, 90, 90};
    chart.series.push_back({name, {}, {}, kGrey});
    chart.series.push_back({"training", {}, {}, kGrey, 1.5, 5.0});
  }
  return chart;
}

int plot_runs(const PlotFlags& flags) {
  const PlotRequest request = read_request(flags);
  const std::vector<RunHistory> runs = read_histories(flags.runs);
  plot::write_drawing(plot::draw(chart_of(runs, flags, request)), flags.out);
  print_result(flags.out + "\n");
  return 0;
}

}  // namespace

void add_plot_command(CLI::App& program, Action& action) {
  auto flags = std::make_shared<PlotFlags>();
  CLI::App& command = add_command(program, "plot", "Curves of one or several runs in one picture.",
                                  "zeroth plot runs/first --out error.png\n"
                                  "  zeroth plot runs/* --what loss --epochs 0:30 --smooth 3 --out loss.svg",
                                  action, [flags] { return plot_runs(*flags); });
  command.add_option("runs", flags->runs, "run folders")->type_name("RUN...")->required();
  command.add_option("--out", flags->out, "the picture, by its ending a .png or .svg")
      ->type_name("FILE")
      ->required();
  command.add_option("--what", flags->what, quantity_names() + " [" + flags->what + "]")->type_name("NAME");
  command.add_option("--epochs", flags->epochs, "the epochs shown, such as 0:30 or 10: [all]")
      ->type_name("FROM:TO");
  command.add_option("--smooth", flags->smooth, "show means over N neighbouring values [1]")->type_name("N");
  command.add_option("--title", flags->title, "heading [what is shown]")->type_name("TEXT");
  command.add_flag("--log", flags->logarithmic, "logarithmic axis of values");
}

}  // namespace zeroth::app
