#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "apps/command_line.h"
#include "apps/run_folder.h"
#include "apps/session.h"
#include "apps/trained_network.h"

namespace zeroth::app {

namespace {

std::vector<double> class_accuracies(const Evaluation& evaluation) {
  std::vector<double> all;
  for (std::size_t c = 0; c < evaluation.class_rows.size(); ++c)
    all.push_back(evaluation.class_rows[c] == 0 ? 0.0
                                                : static_cast<double>(evaluation.class_correct[c]) /
                                                      static_cast<double>(evaluation.class_rows[c]));
  return all;
}

std::string as_json(const Evaluation& evaluation, const Dataset& dataset, const std::string& checkpoint,
                    const TrainedNetwork& trained) {
  const CheckpointInfo& info = trained.info();
  nlohmann::ordered_json result;
  result["checkpoint"] = checkpoint;
  result["step"] = info.step;
  result["weights"] = trained.averaged() ? "averaged" : "raw";
  result["data"] = label_of(dataset);
  result["pictures"] = evaluation.metrics.rows;
  result["loss"] = evaluation.metrics.loss;
  result["error"] = evaluation.metrics.error();
  const std::vector<double> accuracies = class_accuracies(evaluation);
  for (std::size_t c = 0; c < accuracies.size(); ++c)
    result["class_accuracy"][dataset.class_names[c]] = accuracies[c];
  return json_line(result);
}

std::string as_text(const Evaluation& evaluation, const Dataset& dataset, const std::string& checkpoint,
                    const TrainedNetwork& trained) {
  std::string text = fmt::format("{} (step {}{}) on the test set of {}\n", checkpoint, trained.info().step,
                                 trained.averaged() ? ", averaged weights" : "", label_of(dataset));
  text += fmt::format("loss      {:.4f}\nerror     {}\naccuracy  {}, {} of {} pictures\n",
                      evaluation.metrics.loss, percent(evaluation.metrics.error()),
                      percent(1.0 - evaluation.metrics.error()), evaluation.metrics.correct,
                      evaluation.metrics.rows);
  const std::vector<double> accuracies = class_accuracies(evaluation);
  std::size_t width = 5;
  for (const std::string& name : dataset.class_names) width = std::max(width, name.size());
  text += fmt::format("\n{:<{}}  accuracy  pictures\n", "class", width);
  for (std::size_t c = 0; c < accuracies.size(); ++c)
    text += fmt::format("{:<{}}  {:>8}  {:>8}\n", dataset.class_names[c], width, percent(accuracies[c]),
                        evaluation.class_rows[c]);
  return text;
}

int evaluate_checkpoint(const Said& said, const std::string& run_or_checkpoint, bool json) {
  const std::string path = find_checkpoint(run_or_checkpoint).string();
  TrainedNetwork trained(SafetensorsFile(path), said);
  const TrainOptions& options = trained.options();
  const Dataset dataset = choose_data(options).dataset;
  if (!options.quiet) say(fmt::format("evaluating {} on the test set of {}", path, label_of(dataset)));
  const Evaluation evaluation = trained.evaluate(dataset);
  print_result(json ? as_json(evaluation, dataset, path, trained)
                    : as_text(evaluation, dataset, path, trained));
  return 0;
}

}  // namespace

void add_eval_command(CLI::App& program, Action& action) {
  auto flags = std::make_shared<std::unique_ptr<SettingFlags>>();
  auto json = std::make_shared<bool>(false);
  auto target = std::make_shared<std::string>();
  CLI::App& command = add_command(
      program, "eval", "Loss, error and accuracy of each class on the whole test set.",
      "zeroth eval runs/first\n  zeroth eval runs/first/checkpoints/epoch-00005.safetensors --json", action,
      [flags, json, target] { return evaluate_checkpoint((*flags)->said(), *target, *json); });
  command
      .add_option("run", *target,
                  "a run folder (its best checkpoint by validation, else its last) or a checkpoint")
      ->type_name("RUN|CHECKPOINT")
      ->required();
  *flags = std::make_unique<SettingFlags>(command, TrainedNetwork::settings(true));
  command.add_flag("--json", *json, "print the result as JSON");
}

}  // namespace zeroth::app
