#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/command_line.h"
#include "apps/run_folder.h"
#include "apps/session.h"
#include "apps/train_loop.h"
#include "data/order.h"
#include "engine/checkpoint.h"
#include "engine/matrix_rate.h"
#include "kernels/core/error.h"

namespace zeroth::app {
namespace fs = std::filesystem;

namespace {

/// A line for people, above any progress line.
void tell(const TrainOptions& options, const std::string& line) {
  if (!options.quiet) fmt::print(stderr, "{}\n", line);
}

struct Start {
  TrainOptions options;
  RunFolder folder;
  std::unique_ptr<SafetensorsFile> checkpoint;  ///< null: a new run
  CheckpointInfo info;
};

std::string said_text(const Said& said, const std::string& key) {
  const Assignment* assignment = last_said(said, key);
  return assignment == nullptr ? "" : assignment->text;
}

/// Decides between a new run and a resumed one, and where it lies.
Start decide_start(const Said& said) {
  const std::string resume = said_text(said, "resume"), out = said_text(said, "out");
  const auto checkpoint = resume.empty() ? std::nullopt : find_resume_checkpoint(resume, out);
  if (!checkpoint) {
    TrainOptions options = resolve(said);
    if (!resume.empty()) tell(options, "--resume auto finds no checkpoint: a new run begins");
    RunFolder folder = new_run_folder(options.out, options.model);
    return {std::move(options), std::move(folder), nullptr, {}};
  }
  auto file = std::make_unique<SafetensorsFile>(*checkpoint);
  CheckpointInfo info = checkpoint_info(*file);
  TrainOptions options = resolve_resumed(said, info.config);
  const std::optional<RunFolder> old = run_folder_of(*checkpoint);
  if (options.out.empty() && !old)
    fail(ErrorKind::usage, fmt::format("{} lies in no run folder; say with --out where the resumed run goes",
                                       checkpoint->string()));
  const bool stays =
      options.out.empty() || (old && fs::weakly_canonical(options.out) == fs::weakly_canonical(old->path()));
  RunFolder folder = stays ? *old : new_run_folder(options.out, options.model);
  if (!stays && old) {
    folder.create("");  // the history comes along
    for (const char* name : {"log.jsonl", "summary.csv"}) {
      std::error_code ignored;  // a run without a log has no history
      fs::copy_file(old->path() / name, folder.path() / name, ignored);
    }
  }
  return {std::move(options), std::move(folder), std::move(file), std::move(info)};
}

/// Fills in what the data set decides, or checks that a resumed run sees the same pictures.
void settle_data(Start& start, const Dataset& dataset) {
  CheckpointInfo& info = start.info;
  TrainOptions& options = start.options;
  if (start.checkpoint != nullptr && info.data_hash != dataset.content_hash)
    fail(ErrorKind::data,
         fmt::format("the run was trained on other pictures ({}) than those of {}; give its data set "
                     "with --data",
                     info.data, dataset.folder.empty() ? dataset.name : dataset.folder.string()));
  options.data = dataset.folder.empty() ? dataset.name : fs::absolute(dataset.folder).string();
  if (options.normalize.empty()) options.normalize = dataset.name;
  info.config = checkpoint_config(options);
  info.data = label_of(dataset);
  info.data_hash = dataset.content_hash;
  info.classes = dataset.classes();
  info.height = dataset.train.height;
  info.width = dataset.train.width;
  info.channels = dataset.train.channels;
}

/// Result of the final evaluation on the test set, printed to stdout.
double report_test(const Evaluation& evaluation, const Start& start, std::int64_t steps, bool json) {
  const Metrics& metrics = evaluation.metrics;
  if (json) {
    nlohmann::ordered_json result;
    result["run"] = start.folder.path().string();
    result["data"] = start.info.data;
    result["steps"] = steps;
    result["test_pictures"] = metrics.rows;
    result["test_loss"] = metrics.loss;
    result["test_error"] = metrics.error();
    print_result(result.dump() + "\n");
  } else {
    print_result(fmt::format("test error {} of {} pictures, loss {:.4f}, {}, after {} steps: {}\n",
                             percent(metrics.error()), metrics.rows, metrics.loss, start.info.data, steps,
                             start.folder.path().string()));
  }
  return 1.0 - metrics.error();
}

void tell_start(const Start& start, const Context& context, const ResNet& network, const Training& training) {
  const TrainOptions& options = start.options;
  const std::string device = context.device().kind == DeviceKind::cuda
                                 ? fmt::format("cuda:{}", context.device().index)
                                 : name_of(context.device().kind);
  tell(options, fmt::format("training {} ({} parameters) with {} on {}", options.model,
                            network.store().count(), start.info.data, device));
  tell(options,
       fmt::format(
           "recipe {}, {} epochs of {} steps, into {}{}", options.recipe, options.epochs,
           training.trainer.steps_per_epoch(), start.folder.path().string(),
           start.checkpoint == nullptr ? "" : fmt::format(", resumed after step {}", start.info.step)));
}

/// Loads what the run starts from: a checkpoint's everything, or the weights of --init.
void fill_network(const Start& start, Context& context, ResNet& network, Trainer& trainer) {
  if (start.checkpoint != nullptr) {
    fill_tensors(context, *start.checkpoint, trainer.tensors());
    trainer.resume_at(start.info.step);
  } else if (!start.options.init.empty()) {
    fill_tensors(context, SafetensorsFile(start.options.init), weights_of(network));
  }
}

/// With a validation split the weights of the best epoch count, as they would be chosen without the test set.
Evaluation final_evaluation(const Training& training) {
  if (!training.validation.empty() && fs::exists(training.folder.best()))
    fill_tensors(training.context, SafetensorsFile(training.folder.best()), weights_of(training.network));
  return training.trainer.evaluate(training.test);
}

int train(const Said& said, bool json) {
  Start start = decide_start(said);
  const std::unique_ptr<Context> context = make_context(start.options);
  const ChosenData data = choose_data(start.options.data);
  const Dataset& dataset = data.dataset;
  if (!data.notice.empty()) fmt::print(stderr, "{}\n", data.notice);
  settle_data(start, dataset);
  const TrainOptions& options = start.options;

  const std::unique_ptr<ResNet> network = make_network(
      *context, options, start.info.classes, start.info.height, start.info.width, start.info.channels);
  const Split split = class_balanced_split(dataset.train.labels, dataset.classes(), options.val_split,
                                           static_cast<std::uint64_t>(options.seed));
  TrainerConfig config = trainer_config(options, normalisation_for(options.normalize, start.info.channels));
  config.pictures_per_epoch = static_cast<std::int64_t>(split.train.size());
  const PictureSet pictures = upload(*context, dataset.train, dataset.classes());
  Trainer trainer(*context, *network, pictures, config, [&](std::uint32_t epoch) {
    std::vector<std::int32_t> order =
        epoch_order(config.seed, epoch, static_cast<std::int64_t>(split.train.size()));
    for (std::int32_t& index : order) index = split.train[static_cast<std::size_t>(index)];
    return order;
  });
  fill_network(start, *context, *network, trainer);
  Training training{*context,
                    *network,
                    trainer,
                    options,
                    start.folder,
                    pictures,
                    upload(*context, dataset.test, dataset.classes()),
                    split.validation,
                    dataset.origin == DataOrigin::generated ? start.info.data : "",
                    training_flops(*network),
                    measure_matrix_rate(*context, options.amp),
                    start.info};

  start.folder.create(folder_config(options));
  if (start.checkpoint != nullptr) start.folder.forget_best_after(start.info.step);
  tell_start(start, *context, *network, training);
  TrainLoop loop(training);
  if (const int signal = loop.run(); signal != 0) {
    fmt::print(stderr, "stopped by {} after step {} and saved; go on with: zeroth train --resume {}\n",
               signal == SIGINT ? "SIGINT" : "SIGTERM", trainer.steps_taken(), start.folder.path().string());
    return 128 + signal;
  }
  const double accuracy = report_test(final_evaluation(training), start, trainer.steps_taken(), json);
  if (options.target_acc && accuracy < *options.target_acc)
    fail(ErrorKind::diverged,
         fmt::format("accuracy {} misses --target-acc {}", percent(accuracy), percent(*options.target_acc)));
  return 0;
}

}  // namespace

void add_train_command(CLI::App& program, Action& action) {
  auto flags = std::make_shared<std::unique_ptr<SettingFlags>>();
  auto json = std::make_shared<bool>(false);
  CLI::App& command = add_command(
      program, "train", "Train a network; with no flags: a first training on the best device here.",
      "zeroth train --model rezero-resnet20 --data cifar10 --out runs/first\n"
      "  zeroth train --resume runs/first --epochs 20\n"
      "Every flag is also a key of --config files (batch_size = 128) and an environment\n"
      "variable (ZEROTH_BATCH_SIZE), but --data: in the folder ZEROTH_DATA names are\n"
      "looked up. Values in brackets hold where nothing else is said, with --recipe\n"
      "quick. Defaults < recipe < file < environment < flags.",
      action, [flags, json] { return train((*flags)->said(), *json); });
  *flags = std::make_unique<SettingFlags>(command);
  command.add_flag("--json", *json, "print the result as JSON");
}

}  // namespace zeroth::app
