#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>

#include "apps/command_line.h"
#include "apps/launch.h"
#include "apps/out_of_memory.h"
#include "apps/parse_value.h"
#include "apps/pytorch_weights.h"
#include "apps/ranks.h"
#include "apps/session.h"
#include "apps/start.h"
#include "apps/stop_signal.h"
#include "apps/train_loop.h"
#include "data/order.h"
#include "engine/ceilings.h"
#include "engine/checkpoint.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/core/error.h"
#include "kernels/core/free_memory.h"

namespace zeroth::app {
namespace fs = std::filesystem;

namespace {

/// Fills in what the data set decides, or checks that a resumed run sees the same pictures.
void settle_data(Start& start, const Dataset& dataset) {
  CheckpointInfo& info = start.info;
  TrainOptions& options = start.options;
  if (start.resumed && info.data_hash != dataset.content_hash)
    fail(ErrorKind::data,
         fmt::format("the run was trained on other pictures ({}) than those of {}; give its data set "
                     "with --data",
                     info.data, dataset.folder.empty() ? dataset.name : dataset.folder.string()));
  options.data = dataset.folder.empty() ? dataset.name : fs::absolute(dataset.folder).string();
  if (!is_utf8(options.data))
    fail(ErrorKind::usage,
         "the path of the data set is not UTF-8, as a checkpoint's configuration must be; "
         "rename its folders");
  if (options.normalize.empty())
    options.normalize =
        published_normalisation(dataset.name) != nullptr ? dataset.name : print(dataset.normalisation);
  if (options.test_share && !dataset.test_share)
    fail(ErrorKind::usage, fmt::format("--test-share has no effect: {} has test pictures", options.data));
  options.test_share = dataset.test_share;
  if (!options.augment) {
    options.augment.emplace();
    if (!dataset.mirrors) options.augment->flip = Flip::none;
  }
  const std::int64_t smallest = std::min(dataset.train.height, dataset.train.width);
  if (options.augment->reflect && options.augment->crop_padding >= smallest)
    fail(ErrorKind::usage,
         fmt::format("--augment translate={}: pictures of {} x {} move by {} at most",
                     options.augment->crop_padding, dataset.train.height, dataset.train.width, smallest - 1));
  info.config = checkpoint_config(options);
  info.data = label_of(dataset);
  info.data_hash = dataset.content_hash;
  info.classes = dataset.classes();
  info.class_names = dataset.class_names;
  info.height = dataset.train.height;
  info.width = dataset.train.width;
  info.channels = dataset.train.channels;
}

/// Result of the final evaluation on the test set, printed to stdout.
double report_test(const Evaluation& evaluation, const Start& start, std::int64_t steps, bool json) {
  const Metrics& metrics = evaluation.metrics;
  if (json) {
    nlohmann::ordered_json result;
    result["run"] = start.folder->path().string();
    result["data"] = start.info.data;
    result["steps"] = steps;
    result["test_pictures"] = metrics.rows;
    result["test_loss"] = metrics.loss;
    result["test_error"] = metrics.error();
    print_result(json_line(result));
  } else {
    print_result(fmt::format("test error {} of {} pictures, loss {:.4f}, {}, after {} steps: {}\n",
                             percent(metrics.error()), metrics.rows, metrics.loss, start.info.data, steps,
                             start.folder->path().string()));
  }
  return 1.0 - metrics.error();
}

/// Whether convolutions and linear layers widen their 16-bit operands here.
bool computes_through_f32(const Context& context, DType dtype) {
  const Conv2dParams typical{1, 8, 8, 16, 16, 3, 3, 1, 1, dtype};
  return context.device().kind == DeviceKind::cpu && !cpu::conv2d_row.supports(typical, Conv2dPass::forward);
}

void tell_start(const Start& start, const Context& context, const Model& network, const Training& training) {
  const TrainOptions& options = start.options;
  for (const std::string& line : start.notices) tell(options, line);
  if (computes_through_f32(context, options.amp))
    tell(options, "this CPU has no instructions for --amp's dtype: it computes through f32 copies, slowly");
  const std::string device = context.device().kind == DeviceKind::cuda
                                 ? fmt::format("cuda:{}", context.device().index)
                                 : name_of(context.device().kind);
  tell(options, fmt::format("training {} ({} parameters) with {} on {}", options.model,
                            network.store().count(), start.info.data, device));
  if (training.validation.empty() && (options.early_stop || options.schedule == ScheduleKind::plateau))
    tell(
        options,
        "no --val-split: what decides of the learning rate or the end is the error on the test set, which is "
        "then too low");
  tell(options,
       fmt::format("recipe {}, {} of {}, into {}{}", options.recipe, count_of(options.epochs, "epoch"),
                   count_of(training.trainer.steps_per_epoch(), "step"), start.folder->path().string(),
                   !start.resumed ? "" : fmt::format(", resumed after step {}", start.info.step)));
}

/// "resnet20 with residual post and shortcut B": what weights fit into besides their shapes.
std::string architecture(const TrainOptions& options) {
  if (!is_resnet(options.model)) return options.model;
  const ResNetConfig config = network_config(options);
  TrainOptions shown = options;
  shown.residual = config.form;
  const std::string_view name = config.name, rezero = "rezero-";
  return fmt::format("{} with residual {} and shortcut {}",
                     name.starts_with(rezero) ? name.substr(rezero.size()) : name,
                     find_setting("residual")->print(shown), find_setting("shortcut")->print(shown));
}

/// The weights of --init. Another program's file has names and shapes only; a checkpoint says what it is of.
void fill_initial_weights(const TrainOptions& options, Context& context, Model& network) {
  const SafetensorsFile file(options.init);
  if (is_checkpoint(file)) {
    const std::string theirs = architecture(trained_options(checkpoint_info(file).config, options.init)),
                      ours = architecture(options);
    if (theirs != ours)
      fail(ErrorKind::data,
           fmt::format("--init {}: its weights are of {}; this network is {}", options.init, theirs, ours));
  }
  if (has_pytorch_filters(file, network.store())) return load_pytorch_weights(context, file, network);
  load_weights(context, file, network);
}

/// Loads what the run starts from: a checkpoint's everything, the weights of --init, or what follows from the
/// pictures. Of several ranks, the first one reads files.
void fill_network(const Start& start, Ranks* ranks, Context& context, Model& network, Trainer& trainer,
                  const PictureSet& pictures) {
  if (start.resumed && ranks != nullptr)
    return ranks->load_state(context, trainer, start.checkpoint.get(), start.info.step);
  if (start.resumed) return load_training(trainer, *start.checkpoint, start.info.step);
  const TrainOptions& options = start.options;
  const bool from_file = !options.init.empty();
  if (network.store().shares() && (from_file || !is_resnet(options.model)))
    fail(ErrorKind::usage, fmt::format("--parallel {} does not go with {}: take --parallel ddp",
                                       find_setting("parallel")->print(options),
                                       from_file ? "--init" : "--model " + options.model));
  if (!from_file)
    network.initialise_from(context, pictures, trainer.config());
  else if (ranks == nullptr || ranks->leads())
    fill_initial_weights(options, context, network);
  if (from_file && ranks != nullptr) {
    ranks->share(context, trainer.tensors());
    network.store().refresh_working_values(context);
  }
  trainer.restart_averages();
}

/// Where an error ends the training, nobody writes to its tensors any more before they go.
struct CutCollectives {
  Ranks* ranks;
  ~CutCollectives() {
    if (ranks != nullptr && std::uncaught_exceptions() > 0) ranks->disconnect();
  }
};

int train_started(Start& start, MemorySets& sets, bool json, Ranks* ranks) {
  const bool leads = ranks == nullptr || ranks->leads();
  const std::unique_ptr<Context> context = make_context(start.options);
  const ChosenData data = choose_data(start.options);
  const Dataset& dataset = data.dataset;
  for (const std::string& notice : data.notices)
    if (leads) say(notice);
  settle_data(start, dataset);
  const PictureKind kind{start.info.classes, start.info.height, start.info.width, start.info.channels};
  sets = {dataset.train.count, dataset.test.count, kind};
  const TrainOptions& options = start.options;
  if (ranks != nullptr) {
    ranks->compare(options, dataset.content_hash);
    ranks->connect(*context, options);
  }

  const std::unique_ptr<Model> network = make_network(
      *context, options, kind, ranks == nullptr ? 0 : ranks->rank(), ranks == nullptr ? 1 : ranks->size());
  const Split split = class_balanced_split(dataset.train.labels, dataset.classes(), options.val_split,
                                           static_cast<std::uint64_t>(options.seed));
  TrainerConfig config = trainer_config(options, normalisation_for(options.normalize, start.info.channels));
  config.pictures_per_epoch = static_cast<std::int64_t>(split.train.size());
  if (ranks != nullptr) {
    config.communicator = &ranks->communicator();
    config.batch_norm_group = ranks->batch_norm_group();
  }
  const PictureSet pictures = upload(*context, dataset.train, dataset.classes());
  Trainer trainer(*context, *network, pictures, config, [&](std::uint32_t epoch) {
    const auto draw = options.sampling == Sampling::shuffle ? epoch_order : epoch_order_with_replacement;
    std::vector<std::int32_t> order = draw(config.seed, epoch, static_cast<std::int64_t>(split.train.size()));
    for (std::int32_t& index : order) index = split.train[static_cast<std::size_t>(index)];
    return order;
  });
  if (start.info.step > options.epochs * trainer.steps_per_epoch())
    fail(ErrorKind::usage, fmt::format("--epochs {}: the run has trained {} steps of {} an epoch already",
                                       options.epochs, start.info.step, trainer.steps_per_epoch()));
  fill_network(start, ranks, *context, *network, trainer, pictures);
  const PictureSet test = upload(*context, dataset.test, dataset.classes());
  const double matrix_rate = measure_matrix_rate(*context, options.amp);
  if (leads) open_run(start, trainer.steps_per_epoch());
  if (ranks != nullptr) follow_open_run(start, *ranks);
  const RunFolder folder = leads ? *start.folder : RunFolder("");
  time_plans(*context, options, leads ? &folder : nullptr);
  Training training{*context,
                    *network,
                    trainer,
                    options,
                    ranks,
                    folder,
                    pictures,
                    test,
                    split.validation,
                    dataset.origin == DataOrigin::generated ? start.info.data : "",
                    training_flops(*network),
                    matrix_rate,
                    start.info,
                    start.resumed};

  if (leads) tell_start(start, *context, *network, training);
  TrainLoop loop(training);
  const CutCollectives cut{ranks};
  if (const int signal = loop.run(); signal != 0) {
    if (ranks != nullptr) ranks->leave_together();
    if (!leads) return 128 + signal;
    say(fmt::format("stopped by {} after step {} and saved; go on with: zeroth train --resume {}",
                    StopSignal::name_of(signal), trainer.steps_taken(), start.folder->path().string()));
    return 128 + signal;
  }
  const Evaluation evaluation = loop.final_evaluation();
  if (ranks != nullptr) ranks->leave_together();
  if (!leads) return 0;
  const double accuracy = report_test(evaluation, start, trainer.steps_taken(), json);
  if (options.target_acc && accuracy < *options.target_acc)
    fail(ErrorKind::diverged,
         fmt::format("accuracy {} misses --target-acc {}", percent(accuracy), percent(*options.target_acc)));
  return 0;
}

int train_here(const Said& said, bool json, Ranks* ranks) {
  Start start = decide_start(said, ranks);
  const Device device = choose_device(start.options.device);
  const std::size_t free_bytes = free_memory(device);
  MemorySets sets;
  std::string what;
  try {
    return train_started(start, sets, json, ranks);
  } catch (const OutOfMemory& error) {
    what = error.what();
  } catch (const std::bad_alloc&) {
    what = "out of memory on the host";
  }
  fail(ErrorKind::runtime, out_of_memory_text(start.options, sets, device, free_bytes, what));
}

/// What decides how many processes train: read before anything else.
TrainOptions launch_options(const Said& said) {
  TrainOptions options;
  for (const Setting& setting : settings()) {
    const bool counts = setting.group == "Several ranks" || setting.key == "device" || setting.key == "out";
    const Assignment* const assignment = counts ? last_said(said, setting.key) : nullptr;
    if (assignment != nullptr) assign(options, *assignment);
  }
  return options;
}

int train(const Said& said, bool json) {
  const TrainOptions asked = launch_options(said);
  const std::optional<LaunchPlace> place = launch_place();
  if ((!place || place->size == 1) && asked.ranks.value_or(1) > 1) {
    check_collectives(asked.device);
    return launch_ranks(said, asked);
  }
  if (place && asked.ranks && *asked.ranks != place->size)
    fail(ErrorKind::usage, fmt::format("--ranks {}: {} has started this process as one of {}", *asked.ranks,
                                       place->launcher, place->size));
  if (!place || place->size == 1) return train_here(said, json, nullptr);
  Ranks ranks(*place, asked);
  try {
    return train_here(said, json, &ranks);
  } catch (const Error& error) {
    ranks.fail(error);
    // All ranks see the same loss, and rank 0 says what there is to say.
    if (error.kind() == ErrorKind::diverged && !ranks.leads()) return static_cast<int>(error.kind());
    throw;
  } catch (const std::exception& error) {
    ranks.fail(Error(ErrorKind::runtime, error.what()));
    throw;
  }
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
