#include "apps/options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "apps/parse_value.h"
#include "data/dataset.h"
#include "data/lookup.h"
#include "data/picture_folder.h"
#include "kernels/core/device.h"
#include "kernels/core/error.h"

namespace zeroth::app {

namespace {

template <class Enum>
using Choices = std::vector<std::pair<const char*, Enum>>;

const Choices<ResidualForm> kResidualForms{
    {"plain", ResidualForm::plain}, {"post", ResidualForm::post}, {"authors", ResidualForm::authors}};
const Choices<ShortcutKind> kShortcuts{{"A", ShortcutKind::a}, {"B", ShortcutKind::b}};
const Choices<OptimizerKind> kOptimizers{
    {"sgd", OptimizerKind::sgd}, {"adam", OptimizerKind::adam}, {"adamw", OptimizerKind::adamw}};
const Choices<ScheduleKind> kSchedules{
    {"constant", ScheduleKind::constant},       {"step", ScheduleKind::step},
    {"exponential", ScheduleKind::exponential}, {"cosine", ScheduleKind::cosine},
    {"one-cycle", ScheduleKind::one_cycle},     {"triangular", ScheduleKind::triangular},
    {"plateau", ScheduleKind::plateau}};

const Choices<DType> kPrecisions{{"off", DType::f32}, {"bf16", DType::bf16}, {"fp16", DType::f16}};
const Choices<OnNonfinite> kNonfinite{{"stop", OnNonfinite::stop}, {"skip", OnNonfinite::skip}};
const Choices<StepMode> kStepModes{
    {"eager", StepMode::eager}, {"planned", StepMode::planned}, {"captured", StepMode::captured}};

const Setting::Condition kSgd{"--optimizer sgd",
                              [](const TrainOptions& o) { return o.optimizer == OptimizerKind::sgd; }};
const Setting::Condition kAdam{"--optimizer adam or adamw",
                               [](const TrainOptions& o) { return o.optimizer != OptimizerKind::sgd; }};
const Setting::Condition kStep{"--schedule step",
                               [](const TrainOptions& o) { return o.schedule == ScheduleKind::step; }};
const Setting::Condition kFp16{"--amp fp16", [](const TrainOptions& o) { return o.amp == DType::f16; }};
const Setting::Condition kDynamicScale{"--amp fp16 and --loss-scale dynamic", [](const TrainOptions& o) {
                                         return o.amp == DType::f16 && !o.loss_scale;
                                       }};
bool is_cycle(const TrainOptions& o) {
  return o.schedule == ScheduleKind::one_cycle || o.schedule == ScheduleKind::triangular;
}
const Setting::Condition kGamma{"--schedule step or exponential", [](const TrainOptions& o) {
                                  return o.schedule == ScheduleKind::step ||
                                         o.schedule == ScheduleKind::exponential;
                                }};
const Setting::Condition kCycle{"--schedule one-cycle or triangular", is_cycle};
const Setting::Condition kNoCycle{"a --schedule that does not rise by itself",
                                  [](const TrainOptions& o) { return !is_cycle(o); }};
const Setting::Condition kPlateau{"--schedule plateau",
                                  [](const TrainOptions& o) { return o.schedule == ScheduleKind::plateau; }};
const Setting::Condition kReZero{
    "a ReZero model (--model rezero-..., --residual post or authors)", [](const TrainOptions& o) {
      return o.residual.value_or(resnet_config(o.model).form) != ResidualForm::plain;
    }};

constexpr std::int64_t kMany = std::numeric_limits<std::int32_t>::max();

template <class Enum>
std::string names_of(const Choices<Enum>& choices) {
  std::vector<std::string> names;
  for (const auto& [name, value] : choices) names.emplace_back(name);
  return fmt::format("{}", fmt::join(names, ", "));
}

template <class Enum>
Enum parse_choice(const Choices<Enum>& choices, const std::string& text) {
  for (const auto& [name, value] : choices)
    if (text == name) return value;
  fail(ErrorKind::usage, fmt::format("expected one of {}, not '{}'", names_of(choices), text));
}

template <class Enum>
std::string print_choice(const Choices<Enum>& choices, Enum wanted) {
  for (const auto& [name, value] : choices)
    if (value == wanted) return name;
  return "";
}

/// Builds the table; each method adds the line of one member and returns it for its traits.
class TableBuilder {
 public:
  std::vector<Setting> lines;

  void group(std::string name) { group_ = std::move(name); }

  Setting& integer(const char* key, std::int64_t TrainOptions::*member, std::int64_t least, std::int64_t most,
                   std::string help) {
    return add(
        key, "N", ValueType::integer, std::move(help),
        [=](TrainOptions& o, const std::string& text) { o.*member = parse_integer(text, least, most); },
        [=](const TrainOptions& o) { return std::to_string(o.*member); });
  }
  Setting& integer(const char* key, std::optional<std::int64_t> TrainOptions::*member, std::int64_t least,
                   std::int64_t most, std::string unset, std::string help) {
    Setting& line = add(
        key, "N", ValueType::integer, std::move(help),
        [=](TrainOptions& o, const std::string& text) { o.*member = parse_integer(text, least, most); },
        [=](const TrainOptions& o) { return o.*member ? std::to_string(*(o.*member)) : ""; });
    line.unset = std::move(unset);
    return line;
  }
  Setting& real(const char* key, double TrainOptions::*member, RealRange range, std::string help) {
    return add(
        key, "X", ValueType::real, std::move(help),
        [=](TrainOptions& o, const std::string& text) { o.*member = parse_real(text, range); },
        [=](const TrainOptions& o) { return print_real(o.*member); });
  }
  Setting& real(const char* key, std::optional<double> TrainOptions::*member, RealRange range,
                std::string unset, std::string help) {
    Setting& line = add(
        key, "X", ValueType::real, std::move(help),
        [=](TrainOptions& o, const std::string& text) { o.*member = parse_real(text, range); },
        [=](const TrainOptions& o) { return o.*member ? print_real(*(o.*member)) : ""; });
    line.unset = std::move(unset);
    return line;
  }
  Setting& boolean(const char* key, bool TrainOptions::*member, std::string help) {
    return add(
        key, "", ValueType::boolean, std::move(help),
        [=](TrainOptions& o, const std::string& text) { o.*member = parse_boolean(text); },
        [=](const TrainOptions& o) { return o.*member ? "true" : "false"; });
  }
  Setting& text(const char* key, std::string TrainOptions::*member, const char* placeholder,
                std::string unset, std::string help) {
    Setting& line = add(
        key, placeholder, ValueType::text, std::move(help),
        [=](TrainOptions& o, const std::string& value) { o.*member = parse_text(value); },
        [=](const TrainOptions& o) { return o.*member; });
    line.unset = std::move(unset);
    return line;
  }
  template <class Enum>
  Setting& choice(const char* key, Enum TrainOptions::*member, const Choices<Enum>& choices,
                  const std::string& help) {
    return add(
        key, "NAME", ValueType::text, fmt::format("{}: {}", help, names_of(choices)),
        [=](TrainOptions& o, const std::string& value) { o.*member = parse_choice(choices, value); },
        [=](const TrainOptions& o) { return print_choice(choices, o.*member); });
  }

  Setting& add(const char* key, const char* placeholder, ValueType type, std::string help,
               std::function<void(TrainOptions&, const std::string&)> parse,
               std::function<std::string(const TrainOptions&)> print) {
    Setting line;
    line.key = key;
    line.placeholder = placeholder;
    line.group = group_;
    line.help = std::move(help);
    line.type = type;
    line.parse = std::move(parse);
    line.print = std::move(print);
    lines.push_back(std::move(line));
    return lines.back();
  }

 private:
  std::string group_;
};

void add_model_settings(TableBuilder& table) {
  table.group("Model");
  table
      .text("model", &TrainOptions::model, "NAME", "",
            "resnet20, 32, 44, 56, 110, 1202 or any depth 6n + 2, resnet18 (ImageNet stem), resnet18-cifar; "
            "rezero- before the name for ReZero blocks")
      .parse = [](TrainOptions& o, const std::string& value) {
    static_cast<void>(resnet_config(value));  // throws for a name there is not
    o.model = value;
  };
  Setting& residual = table.add(
      "residual", "NAME", ValueType::text,
      fmt::format("form of the residual block: {}", names_of(kResidualForms)),
      [](TrainOptions& o, const std::string& value) { o.residual = parse_choice(kResidualForms, value); },
      [](const TrainOptions& o) { return o.residual ? print_choice(kResidualForms, *o.residual) : ""; });
  residual.unset = "by the model's name";
  table.choice("shortcut", &TrainOptions::shortcut, kShortcuts, "shortcut where the shape changes");
  table.real("alpha_init", &TrainOptions::alpha_init, kAnyReal, "first value of every alpha (ReZero)")
      .only_with = kReZero;
  table.text("init", &TrainOptions::init, "FILE", "random", "start from the weights of a checkpoint");
}

void add_data_settings(TableBuilder& table) {
  table.group("Data");
  Setting& data =
      table.text("data", &TrainOptions::data, "DIR|NAME", "cifar10 where it is found, else generated",
                 fmt::format("folder of a data set or of class folders of pictures, or {}",
                             fmt::join(dataset_names(), ", ")));
  data.from_environment = false;  // ZEROTH_DATA is the folder in which names are looked up
  data.may_change = true;         // the pictures must be the same, the folder need not
  table
      .text("normalize", &TrainOptions::normalize, "NAME", "the data set's own",
            "what normalises the pictures: a data set's published mean and deviation by its name, those of "
            "each channel as M,M,M/D,D,D, or none")
      .parse = [](TrainOptions& o, const std::string& value) {
    if (value != "none" && published_normalisation(value) == nullptr)
      static_cast<void>(parse_normalisation(value));
    o.normalize = value;
  };
  table.integer("picture_size", &TrainOptions::picture_size, kSmallestPicture, kLargestPicture,
                fmt::format("the set's own, {} of a folder of pictures", kPictureSize),
                "pictures are cropped to the largest square in their middle and resampled to N x N");
  table.real("test_share", &TrainOptions::test_share, kBelowOne, fmt::format("{}", kTestShare),
             "of a folder of pictures without test/: share of each class that becomes the test set");
  table.integer("val_split", &TrainOptions::val_split, 0, kMany,
                "training pictures held out for validation, as many of each class");
  Setting& augmentation = table.add(
      "augment", "LIST", ValueType::list, "flip, crop (padding 4), both as flip,crop, or none",
      [](TrainOptions& o, const std::string& value) {
        TrainOptions::Augment augment{false, false};
        for (const std::string& part : parse_list(value == "none" ? "" : value)) {
          bool* known = part == "flip" ? &augment.flip : part == "crop" ? &augment.crop : nullptr;
          if (known == nullptr)
            fail(ErrorKind::usage, fmt::format("expected flip, crop, flip,crop or none, not '{}'", value));
          *known = true;
        }
        o.augment = augment;
      },
      [](const TrainOptions& o) {
        if (!o.augment) return "";
        if (o.augment->flip) return o.augment->crop ? "flip,crop" : "flip";
        return o.augment->crop ? "crop" : "none";
      });
  augmentation.unset = "flip,crop, but of digits crop";
}

void add_cycle_settings(TableBuilder& table) {
  table.real("cycle_rise", &TrainOptions::cycle_rise, kBelowOne, "share of the steps in which it rises to lr")
      .only_with = kCycle;
  table.real("cycle_start", &TrainOptions::cycle_start, kUpToOne, "factor of lr at the first step")
      .only_with = kCycle;
  table.real("cycle_end", &TrainOptions::cycle_end, kUpToOne, "factor of lr at the last step").only_with =
      kCycle;
}

void add_plateau_settings(TableBuilder& table) {
  const auto add_count = [&](const char* key, std::int64_t PlateauRule::*member, const char* help) {
    table
        .add(
            key, "N", ValueType::integer, help,
            [=](TrainOptions& o, const std::string& text) {
              o.plateau.*member = parse_integer(text, 0, kMany);
            },
            [=](const TrainOptions& o) { return std::to_string(o.plateau.*member); })
        .only_with = kPlateau;
  };
  const auto add_real = [&](const char* key, double PlateauRule::*member, RealRange range, const char* help) {
    table
        .add(
            key, "X", ValueType::real, help,
            [=](TrainOptions& o, const std::string& text) { o.plateau.*member = parse_real(text, range); },
            [=](const TrainOptions& o) { return print_real(o.plateau.*member); })
        .only_with = kPlateau;
  };
  add_count("plateau_patience", &PlateauRule::patience, "epochs without a better accuracy before a cut");
  add_count("plateau_cooldown", &PlateauRule::cooldown, "epochs after a cut that are not counted");
  add_real("plateau_factor", &PlateauRule::factor, kBelowOne, "factor of the rate at a cut");
  add_real("plateau_threshold", &PlateauRule::threshold, kNotNegative,
           "share by which a better accuracy exceeds the best");
  add_real("plateau_min_lr", &PlateauRule::min_rate, kNotNegative, "no cut goes below it");
  table
      .integer("early_stop", &TrainOptions::early_stop, 1, kMany, "never",
               "end after N epochs in a row below the best accuracy")
      .may_change = true;
}

void add_optimization_settings(TableBuilder& table) {
  table.group("Optimization");
  table.integer("epochs", &TrainOptions::epochs, 1, 1'000'000, "passes over the training set").may_change =
      true;
  Setting& max_steps = table.integer("max_steps", &TrainOptions::max_steps, 1, kMany, "no limit",
                                     "end after N optimizer steps in all, counted across resumes");
  max_steps.may_change = true;
  max_steps.in_checkpoint = false;
  table.integer("batch_size", &TrainOptions::batch_size, 1, kMany, "pictures a step");
  table.choice("optimizer", &TrainOptions::optimizer, kOptimizers, "update rule");
  table.real("lr", &TrainOptions::lr, kPositive, "learning rate");
  table.real("momentum", &TrainOptions::momentum, kBelowOne, "of sgd").only_with = kSgd;
  table.boolean("nesterov", &TrainOptions::nesterov, "Nesterov momentum (sgd)").only_with = kSgd;
  table.real("weight_decay", &TrainOptions::weight_decay, kNotNegative, "on every parameter but alpha");
  table.real("alpha_lr", &TrainOptions::alpha_lr, kNotNegative, "as lr", "learning rate of the alphas")
      .only_with = kReZero;
  table
      .real("alpha_wd", &TrainOptions::alpha_wd, kNotNegative, "as weight_decay",
            "weight decay of the alphas")
      .only_with = kReZero;
  Setting& betas = table.add(
      "betas", "X,X", ValueType::list, "of adam and adamw",
      [](TrainOptions& o, const std::string& value) {
        const std::vector<std::string> parts = parse_list(value);
        if (parts.size() != 2) fail(ErrorKind::usage, fmt::format("expected two numbers, not '{}'", value));
        o.betas = {parse_real(parts[0], kBelowOne), parse_real(parts[1], kBelowOne)};
      },
      [](const TrainOptions& o) { return print_real(o.betas[0]) + ',' + print_real(o.betas[1]); });
  betas.only_with = kAdam;
  table.real("eps", &TrainOptions::eps, kPositive, "of adam and adamw").only_with = kAdam;
  table.real("label_smoothing", &TrainOptions::label_smoothing, kBelowOne,
             "share of the target spread over all classes");
  table.choice("schedule", &TrainOptions::schedule, kSchedules, "course of the learning rate");
  Setting& milestones = table.add(
      "milestones", "LIST", ValueType::list, "step: epochs after which the rate is multiplied by gamma",
      [](TrainOptions& o, const std::string& value) {
        std::vector<double> epochs;
        for (const std::string& part : parse_list(value)) epochs.push_back(parse_real(part, kPositive));
        if (std::adjacent_find(epochs.begin(), epochs.end(), std::greater_equal<>()) != epochs.end())
          fail(ErrorKind::usage, fmt::format("expected epochs in rising order, not '{}'", value));
        o.milestones = std::move(epochs);
      },
      [](const TrainOptions& o) { return fmt::format("{}", fmt::join(o.milestones, ",")); });
  milestones.unset = "none";
  milestones.only_with = kStep;
  table
      .real("gamma", &TrainOptions::gamma, kUpToOne, "0.1; exponential 0.95",
            "step: factor at each milestone; exponential: after each epoch")
      .only_with = kGamma;
  table.real("warmup", &TrainOptions::warmup, kNotNegative, "epochs over which the rate rises to lr")
      .only_with = kNoCycle;
  add_cycle_settings(table);
  add_plateau_settings(table);
  table.real("clip_norm", &TrainOptions::clip_norm, kNotNegative,
             "largest L2 norm of all gradients together: larger ones are scaled down to it; 0: off");
  table
      .choice("nonfinite", &TrainOptions::nonfinite, kNonfinite,
              "at gradients that are NaN or infinite, end with exit code 6 or skip the step (a dynamic loss "
              "scale skips)")
      .may_change = true;
  table.integer("seed", &TrainOptions::seed, 0, std::numeric_limits<std::int64_t>::max(),
                "of weights, order and augmentation");
}

void add_machine_settings(TableBuilder& table) {
  table.group("Machine");
  Setting& device =
      table.text("device", &TrainOptions::device, "NAME", "",
                 "auto, cpu, cuda, cuda:N, or simt (the CUDA kernels on the CPU, for tests: very slow)");
  device.parse = [](TrainOptions& o, const std::string& value) {
    if (value != "auto") static_cast<void>(parse_device(value));
    o.device = value;
  };
  table.choice("amp", &TrainOptions::amp, kPrecisions,
               "mixed precision: 16-bit activations and weights over f32 masters");
  Setting& loss_scale = table.add(
      "loss_scale", "dynamic|X", ValueType::text,
      "factor of the loss that keeps fp16 gradients above their smallest number",
      [](TrainOptions& o, const std::string& value) {
        o.loss_scale = value == "dynamic" ? std::nullopt : std::optional(parse_real(value, kPositive));
      },
      [](const TrainOptions& o) { return o.loss_scale ? print_real(*o.loss_scale) : "dynamic"; });
  loss_scale.only_with = kFp16;
  table
      .integer("loss_scale_growth_interval", &TrainOptions::loss_scale_growth_interval, 1, kMany,
               "steps without overflow after which a dynamic loss scale doubles")
      .only_with = kDynamicScale;
  Setting& threads =
      table.integer("threads", &TrainOptions::threads, 1, 4096, "every core there is", "CPU threads");
  device.may_change = threads.may_change = true;
  device.in_checkpoint = false;  // threads are kept: sums cut differently give other last bits
  table.boolean("deterministic", &TrainOptions::deterministic,
                "only implementations that give the same bits every time");
  table
      .boolean("tf32", &TrainOptions::tf32,
               "let libraries round the factors of f32 products to 10 bits, for tensor cores (cuda)")
      .may_change = true;
  Setting& step = table.add(
      "step", "NAME", ValueType::text,
      "how steps are queued: eager, planned (in one block of memory), captured (as one CUDA graph), or auto: "
      "captured "
      "on cuda, planned on cpu, eager on simt; the results are the same",
      [](TrainOptions& o, const std::string& value) {
        if (value != "auto" && std::none_of(kStepModes.begin(), kStepModes.end(),
                                            [&](const auto& choice) { return value == choice.first; }))
          fail(ErrorKind::usage,
               fmt::format("expected one of auto, {}, not '{}'", names_of(kStepModes), value));
        o.step = value == "auto" ? std::nullopt : std::optional(parse_choice(kStepModes, value));
      },
      [](const TrainOptions& o) { return o.step ? print_choice(kStepModes, *o.step) : "auto"; });
  step.may_change = true;
  step.in_checkpoint = false;
  Setting& sync_launches = table.boolean(
      "sync_launches", &TrainOptions::sync_launches,
      "for finding faults: wait after every kernel, so that an error names the one that failed (cuda): slow");
  sync_launches.may_change = true;
  sync_launches.recorded = sync_launches.in_checkpoint = false;
  Setting& impl = table.add(
      "impl", "OP=ROW", ValueType::list,
      "implementation of an operation, as `zeroth info` lists them (OP=ROW+ROW: the first of these that "
      "fits); may "
      "be given again for others; default: the first that fits",
      [](TrainOptions& o, const std::string& value) {
        const std::vector<std::string> parts = parse_list(value == "default" ? "" : value);
        for (const std::string& part : parts) {
          const std::size_t equals = part.find('=');
          if (equals == std::string::npos || equals == 0 || equals + 1 == part.size())
            fail(ErrorKind::usage,
                 fmt::format("expected OPERATION=ROW, OPERATION=ROW+ROW or default, not '{}'", part));
        }
        o.impl = parts;
      },
      [](const TrainOptions& o) { return fmt::format("{}", fmt::join(o.impl, ",")); });
  impl.unset = "default";
  impl.may_change = true;
}

void add_run_settings(TableBuilder& table) {
  table.group("Run");
  table.text("recipe", &TrainOptions::recipe, "NAME", "", "a named set of values; other flags override it");
  const auto this_run_only = [](Setting& line) {
    line.may_change = true;
    line.recorded = line.in_checkpoint = false;
  };
  Setting& config = table.text("config", &TrainOptions::config, "FILE", "none",
                               "TOML file of settings: flags without dashes, batch_size = 128");
  config.from_file = false;
  this_run_only(config);
  this_run_only(table.text("out", &TrainOptions::out, "DIR", "runs/MODEL-DATE-TIME", "run folder"));
  this_run_only(table.text("resume", &TrainOptions::resume, "auto|PATH", "a new run",
                           "go on with a run folder or checkpoint; auto: the one in --out, else the newest "
                           "under runs/"));
  Setting& save_every = table.integer("save_every", &TrainOptions::save_every, 0, kMany,
                                      "epochs between checkpoints that stay; 0: only last and best");
  save_every.may_change = true;
  Setting& keep =
      table.integer("keep", &TrainOptions::keep, 0, kMany, "how many of those stay, the newest; 0: all");
  keep.may_change = true;
  Setting& target = table.real("target_acc", &TrainOptions::target_acc, kUpToOne, "none",
                               "end with exit code 6 unless this accuracy (0.9) is reached");
  target.may_change = true;
  this_run_only(table.boolean("quiet", &TrainOptions::quiet, "no progress, only results and errors"));
}

}  // namespace

std::string Setting::flag() const {
  std::string text = "--" + key;
  std::replace(text.begin(), text.end(), '_', '-');
  return text;
}

std::string Setting::variable() const {
  std::string text = "ZEROTH_" + key;
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

std::span<const Setting> settings() {
  static const std::vector<Setting> table = [] {
    TableBuilder builder;
    builder.lines.reserve(64);  // the references that add() returns stay valid
    add_run_settings(builder);
    add_model_settings(builder);
    add_data_settings(builder);
    add_optimization_settings(builder);
    add_machine_settings(builder);
    return std::move(builder.lines);
  }();
  return table;
}

const Setting* find_setting(const std::string& key) {
  for (const Setting& setting : settings())
    if (setting.key == key) return &setting;
  return nullptr;
}

void check_together(const TrainOptions& o) {
  if (o.warmup >= static_cast<double>(o.epochs) && !is_cycle(o))
    fail(ErrorKind::usage, fmt::format("--warmup {} does not end within --epochs {}", o.warmup, o.epochs));
  if (o.schedule == ScheduleKind::step && o.milestones.empty())
    fail(ErrorKind::usage, "--schedule step needs --milestones, such as --milestones 7");
}

}  // namespace zeroth::app
