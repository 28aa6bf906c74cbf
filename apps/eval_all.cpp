#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/command_line.h"
#include "apps/plot/chart.h"
#include "apps/run_folder.h"
#include "apps/session.h"
#include "apps/trained_network.h"
#include "engine/atomic_file.h"
#include "kernels/core/error.h"

namespace zeroth::app {
namespace fs = std::filesystem;

namespace {

struct EvalAllFlags {
  std::string run, csv, plot;
  bool json = false;
};

/// A checkpoint with what it scored.
struct Scored {
  std::string file;
  std::int64_t step = 0;
  double epochs = 0.0;
  Metrics metrics;
};

/// All of a run, in the order of their epochs; last.safetensors and best.safetensors come behind.
std::vector<fs::path> checkpoints_of(const RunFolder& run) {
  std::vector<fs::path> files;
  for (const std::int64_t epoch : run.epochs()) files.push_back(run.of_epoch(epoch));
  std::error_code ignored;
  for (const fs::path& file : {run.best(), run.last()})
    if (fs::exists(file, ignored)) files.push_back(file);
  return files;
}

/// Evaluates the checkpoints of a run one after the other.
class Scorer {
 public:
  explicit Scorer(Said said) : said_(std::move(said)) {}

  /// Nothing where an equal step was scored already: best and last are mostly epochs' checkpoints, too.
  /// Throws Error(data) for a checkpoint that is damaged or of another training.
  std::optional<Scored> score(const fs::path& path) {
    const SafetensorsFile file(path);
    if (!network_) {
      network_.emplace(file, said_);
      data_ = choose_data(network_->options()).dataset;
    } else {
      network_->load(file);
    }
    const CheckpointInfo& info = network_->info();
    if (std::find(steps_.begin(), steps_.end(), info.step) != steps_.end()) return std::nullopt;
    const TrainOptions& options = network_->options();
    if (!options.quiet) say(fmt::format("evaluating {} on the test set of {}", path.string(), label()));
    Scored scored{path.filename().string(), info.step, 0.0, network_->evaluate(data_).metrics};
    const std::int64_t steps_per_epoch = (data_.train.count - options.val_split) / options.batch_size;
    scored.epochs =
        static_cast<double>(info.step) / static_cast<double>(std::max<std::int64_t>(steps_per_epoch, 1));
    steps_.push_back(info.step);
    return scored;
  }

  std::string label() const { return label_of(data_); }

 private:
  Said said_;
  std::optional<TrainedNetwork> network_;
  Dataset data_;
  std::vector<std::int64_t> steps_;
};

std::size_t best_of(const std::vector<Scored>& all) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < all.size(); ++i)
    if (all[i].metrics.correct > all[best].metrics.correct) best = i;
  return best;
}

std::string as_text(const std::vector<Scored>& all, const std::string& data) {
  std::size_t width = 10;
  for (const Scored& one : all) width = std::max(width, one.file.size());
  std::string text = fmt::format(
      "the test set of {}, {} pictures\n{:<{}}  {:>7}  {:>8}  {:>8}  {:>9}  {:>9}\n", data,
      all.front().metrics.rows, "checkpoint", width, "epochs", "step", "loss", "error", "accuracy");
  const std::size_t best = best_of(all);
  for (std::size_t i = 0; i < all.size(); ++i)
    text += fmt::format("{:<{}}  {:>7.4g}  {:>8}  {:>8.4f}  {:>9}  {:>9}{}\n", all[i].file, width,
                        all[i].epochs, all[i].step, all[i].metrics.loss, percent(all[i].metrics.error()),
                        percent(1.0 - all[i].metrics.error()), i == best ? "  best" : "");
  return text;
}

std::string as_json(const std::vector<Scored>& all, const std::string& run, const std::string& data) {
  nlohmann::ordered_json result;
  result["run"] = run;
  result["data"] = data;
  result["pictures"] = all.front().metrics.rows;
  result["best"] = all[best_of(all)].file;
  for (const Scored& one : all)
    result["checkpoints"].push_back({{"checkpoint", one.file},
                                     {"epochs", one.epochs},
                                     {"step", one.step},
                                     {"loss", one.metrics.loss},
                                     {"error", one.metrics.error()}});
  return json_line(result);
}

std::string as_csv(const std::vector<Scored>& all, const std::string& data) {
  std::string text = "checkpoint,epochs,step,test_loss,test_error,data\n";
  for (const Scored& one : all)
    text += fmt::format("{},{},{},{},{},{}\n", one.file, one.epochs, one.step, one.metrics.loss,
                        one.metrics.error(), data);
  return text;
}

plot::Drawing as_drawing(std::vector<Scored> all, const std::string& run, const std::string& data) {
  plot::Chart chart{"Test accuracy of every checkpoint",
                    fmt::format("{}, data: {}", run, data),
                    {"epochs", false, 0.0},
                    {"accuracy, %"},
                    {}};
  const std::size_t best = best_of(all);
  plot::Series curve{"", {}, {}, plot::palette(0)}, mark{"", {}, {}, plot::palette(1), 0.0};
  curve.marker = plot::Marker::circle;
  mark.marker = plot::Marker::diamond;
  const plot::Point top{all[best].epochs, 100.0 * (1.0 - all[best].metrics.error())};
  mark.points = {top};
  mark.labels = {fmt::format("best: {}", percent(1.0 - all[best].metrics.error()))};
  std::sort(all.begin(), all.end(), [](const Scored& a, const Scored& b) { return a.step < b.step; });
  for (const Scored& one : all) curve.points.push_back({one.epochs, 100.0 * (1.0 - one.metrics.error())});
  chart.series = {curve, mark};
  return plot::draw(chart);
}

int evaluate_all(const Said& said, const EvalAllFlags& flags) {
  if (!flags.plot.empty()) plot::check_drawing_path(flags.plot);
  const RunFolder run(flags.run);
  std::error_code error;
  if (!fs::is_directory(run.path(), error))
    fail(ErrorKind::data, fmt::format("{}: no such run folder", flags.run));
  const std::vector<fs::path> files = checkpoints_of(run);
  if (files.empty())
    fail(ErrorKind::data, fmt::format("no checkpoint in {}: expected {}", flags.run, run.last().string()));
  Scorer scorer(said);
  std::vector<Scored> all;
  int code = 0;
  for (const fs::path& file : files) {
    try {
      if (const auto scored = scorer.score(file)) all.push_back(*scored);
    } catch (const Error& damaged) {
      if (damaged.kind() != ErrorKind::data) throw;
      say(fmt::format("zeroth: {}", damaged.what()));
      code = static_cast<int>(ErrorKind::data);
    }
  }
  if (all.empty()) return code;
  const std::string data = scorer.label();
  print_result(flags.json ? as_json(all, flags.run, data) : as_text(all, data));
  if (!flags.csv.empty()) replace_file(flags.csv, as_csv(all, data));
  if (!flags.plot.empty()) plot::write_drawing(as_drawing(all, flags.run, data), flags.plot);
  return code;
}

}  // namespace

void add_eval_all_command(CLI::App& program, Action& action) {
  auto settings = std::make_shared<std::unique_ptr<SettingFlags>>();
  auto flags = std::make_shared<EvalAllFlags>();
  CLI::App& command =
      add_command(program, "eval-all", "Every checkpoint of a run on the whole test set.",
                  "zeroth eval-all runs/first --csv checkpoints.csv --plot checkpoints.png\n"
                  "A checkpoint that is damaged is named and passed over; the exit code is 3 then.",
                  action, [settings, flags] { return evaluate_all((*settings)->said(), *flags); });
  command.add_option("run", flags->run, "a run folder")->type_name("RUN")->required();
  *settings = std::make_unique<SettingFlags>(command, TrainedNetwork::settings(true));
  command.add_option("--csv", flags->csv, "write the table as CSV, too")->type_name("FILE");
  command.add_option("--plot", flags->plot, "draw accuracy over epochs, as .png or .svg")->type_name("FILE");
  command.add_flag("--json", flags->json, "print the table as JSON");
}

}  // namespace zeroth::app
