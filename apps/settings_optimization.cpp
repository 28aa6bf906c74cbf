#include <algorithm>

#include "apps/setting_table.h"

namespace zeroth::app {

namespace {

const Choices<OptimizerKind> kOptimizers{{"sgd", OptimizerKind::sgd},
                                         {"adam", OptimizerKind::adam},
                                         {"adamw", OptimizerKind::adamw},
                                         {"muon", OptimizerKind::muon}};
const Choices<ScheduleKind> kSchedules{
    {"constant", ScheduleKind::constant},       {"step", ScheduleKind::step},
    {"exponential", ScheduleKind::exponential}, {"cosine", ScheduleKind::cosine},
    {"one-cycle", ScheduleKind::one_cycle},     {"triangular", ScheduleKind::triangular},
    {"plateau", ScheduleKind::plateau}};
const Choices<OnNonfinite> kNonfinite{{"stop", OnNonfinite::stop}, {"skip", OnNonfinite::skip}};

bool is_adam(const TrainOptions& o) {
  return o.optimizer == OptimizerKind::adam || o.optimizer == OptimizerKind::adamw;
}

const Setting::Condition kSgd{"--optimizer sgd or muon", [](const TrainOptions& o) { return !is_adam(o); }};
const Setting::Condition kAdam{"--optimizer adam or adamw", is_adam};
const Setting::Condition kStep{"--schedule step",
                               [](const TrainOptions& o) { return o.schedule == ScheduleKind::step; }};
const Setting::Condition kGamma{"--schedule step or exponential", [](const TrainOptions& o) {
                                  return o.schedule == ScheduleKind::step ||
                                         o.schedule == ScheduleKind::exponential;
                                }};
const Setting::Condition kCycle{"--schedule one-cycle or triangular", is_cycle};
const Setting::Condition kNoCycle{"a --schedule that does not rise by itself",
                                  [](const TrainOptions& o) { return !is_cycle(o); }};
const Setting::Condition kPlateau{"--schedule plateau",
                                  [](const TrainOptions& o) { return o.schedule == ScheduleKind::plateau; }};

void add_cycle_settings(SettingTable& table) {
  table.real("cycle_rise", &TrainOptions::cycle_rise, kBelowOne, "share of the steps in which it rises to lr")
      .only_with = kCycle;
  table.real("cycle_start", &TrainOptions::cycle_start, kUpToOne, "factor of lr at the first step")
      .only_with = kCycle;
  table.real("cycle_end", &TrainOptions::cycle_end, kUpToOne, "factor of lr at the last step").only_with =
      kCycle;
}

void add_plateau_settings(SettingTable& table) {
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

}  // namespace

bool is_cycle(const TrainOptions& o) {
  return o.schedule == ScheduleKind::one_cycle || o.schedule == ScheduleKind::triangular;
}

void add_optimization_settings(SettingTable& table) {
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
  table.boolean("nesterov", &TrainOptions::nesterov, "Nesterov momentum (sgd; muon's own is always)")
      .only_with = kSgd;
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
  add_optimizer_settings(table);
  add_average_settings(table);
  table.real("label_smoothing", &TrainOptions::label_smoothing, kBelowOne,
             "share of the target spread over all classes");
  table.real("mixup", &TrainOptions::mixup, kNotNegative,
             "pictures of a batch mixed in pairs, labels with them, by a share from Beta(X, X); 0: off");
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

}  // namespace zeroth::app
