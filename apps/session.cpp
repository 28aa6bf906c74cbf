#include "apps/session.h"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>

#include "apps/command_line.h"
#include "apps/residency.h"
#include "data/lookup.h"
#include "engine/plan_file.h"
#include "kernels/operations.h"
#include "models/airbench.h"

namespace zeroth::app {

namespace {
constexpr double kFirstLossScale = 65536.0;  // torch.cuda.amp.GradScaler's
}

ChosenData choose_data(const TrainOptions& options) {
  DatasetOptions how;
  if (options.picture_size) how.picture_size = static_cast<int>(*options.picture_size);
  how.test_share = options.test_share;
  const auto load = [&](const DatasetLocation& location) {
    ChosenData chosen{load_dataset(location, how), {}};
    chosen.notices = chosen.dataset.notices;
    return chosen;
  };
  if (!options.data.empty()) return load(find_dataset(options.data));
  if (const auto location = find_default_dataset()) return load(*location);
  ChosenData generated = load(find_dataset("generated"));
  generated.notices.emplace_back(
      "no CIFAR-10 found: training on the generated pictures; `zeroth data fetch cifar10` gets the real "
      "ones");
  return generated;
}

std::string label_of(const Dataset& dataset) {
  return dataset.origin == DataOrigin::unofficial ? dataset.name + " (unofficial)" : dataset.name;
}

Device choose_device(const std::string& name) {
  if (name != "auto") {
    const Device device = parse_device(name);
    static_cast<void>(backend(device.kind));  // throws where there is none
    return device;
  }
  try {
    static_cast<void>(backend(DeviceKind::cuda));
    return {DeviceKind::cuda, 0};
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::device) throw;
    return {DeviceKind::cpu, 0};
  }
}

std::unique_ptr<Context> make_context(const TrainOptions& options) {
  omp_set_num_threads(static_cast<int>(options.threads.value_or(omp_get_num_procs())));
  auto context = std::make_unique<Context>(choose_device(options.device));
  context->allow_tf32(options.tf32);
  context->set_sync_launches(options.sync_launches);
  if (options.deterministic) choose_deterministic_rows(*context);
  for (const std::string& assignment : options.impl) context->choose_implementation(assignment);
  check_implementations(*context);
  if (options.deterministic) refuse_other_bits(*context);
  return context;
}

void time_plans(Context& context, const TrainOptions& options, const RunFolder* run) {
  if (context.device().kind != DeviceKind::cuda || options.deterministic ||
      options.cudnn_plans == CudnnPlans::heuristic)
    return;
  const std::filesystem::path cache = cache_folder();
  context.time_plans(std::make_shared<PlanFile>(run == nullptr ? std::filesystem::path() : run->plans(),
                                                cache.empty() ? cache : cache / "plans.json",
                                                [](const std::string& line) { say(line); }));
}

bool is_resnet(const std::string& model) {
  return model != kAirbench;
}

ResNetConfig network_config(const TrainOptions& options) {
  if (!is_resnet(options.model))
    fail(ErrorKind::usage, fmt::format("this needs a ResNet, and {} is none", options.model));
  ResNetConfig config = resnet_config(options.model);
  config.form = options.residual.value_or(config.form);
  config.shortcut = options.shortcut;
  config.alpha_init = options.alpha_init;
  return config;
}

std::unique_ptr<Model> declare_network(const TrainOptions& options, const PictureKind& pictures) {
  const auto with_pictures = [&](auto config) {
    config.classes = pictures.classes;
    config.height = pictures.height;
    config.width = pictures.width;
    config.picture_channels = pictures.channels;
    return config;
  };
  if (!is_resnet(options.model)) return std::make_unique<Airbench>(with_pictures(AirbenchConfig{}));
  return std::make_unique<ResNet>(with_pictures(network_config(options)));
}

std::unique_ptr<Model> make_network(Context& context, const TrainOptions& options,
                                    const PictureKind& pictures, int rank, int ranks) {
  auto network = declare_network(options, pictures);
  network->store().materialise(context, static_cast<std::uint64_t>(options.seed), options.amp,
                               choose_residency(options, network->store(), rank, ranks));
  return network;
}

PictureSet upload(Context& context, const Pictures& pictures, std::int64_t classes) {
  const Shape shape{pictures.count, pictures.height, pictures.width, pictures.channels};
  return {Tensor::from_host<std::uint8_t>(context, shape, pictures.pixels),
          Tensor::from_host<std::int32_t>(context, {pictures.count}, pictures.labels), classes};
}

int moments_of(const TrainOptions& options) {
  switch (options.optimizer) {
    case OptimizerKind::sgd:
      return options.momentum > 0.0 ? 1 : 0;
    case OptimizerKind::muon:
      return 1;
    case OptimizerKind::adam:
    case OptimizerKind::adamw:
      return 2;
  }
  return 0;
}

namespace {

double lr_scale(const TrainOptions& options) {
  return options.scale_lr == ScaleLr::linear ? static_cast<double>(options.ranks.value_or(1)) : 1.0;
}

}  // namespace

double scaled_lr(const TrainOptions& options) {
  return options.lr * lr_scale(options);
}

TrainerConfig trainer_config(const TrainOptions& options, const Normalisation& normalisation) {
  TrainerConfig config;
  config.batch_size = options.batch_size;
  config.optimizer = {options.optimizer,
                      options.momentum,
                      options.nesterov,
                      options.betas[0],
                      options.betas[1],
                      options.eps,
                      {},
                      options.muon_momentum,
                      options.muon_iterations,
                      options.muon_normalize};
  StepGuardConfig& guard = config.optimizer.guard;
  if (options.amp == DType::f16) guard.loss_scale = options.loss_scale.value_or(kFirstLossScale);
  guard.params.dynamic = options.amp == DType::f16 && !options.loss_scale;
  guard.params.growth_interval = static_cast<std::int32_t>(options.loss_scale_growth_interval);
  guard.params.hysteresis = static_cast<std::int32_t>(options.loss_scale_hysteresis);
  guard.params.max_norm = options.clip_norm;
  guard.params.stop = options.nonfinite == OnNonfinite::stop;
  const double scale = lr_scale(options);
  config.rates.fill({scale * options.lr, options.weight_decay});
  const auto rates_of = [&](ParameterGroup group) -> GroupRates& {
    return config.rates[static_cast<std::size_t>(group)];
  };
  rates_of(ParameterGroup::alpha) = {scale * options.alpha_lr.value_or(options.lr),
                                     options.alpha_wd.value_or(options.weight_decay)};
  for (const ParameterGroup group : {ParameterGroup::bias, ParameterGroup::norm})
    rates_of(group) = {scale * options.bias_lr.value_or(options.lr),
                       options.bias_wd.value_or(options.weight_decay)};
  if (options.optimizer == OptimizerKind::muon)
    rates_of(ParameterGroup::hidden) = {scale * options.muon_lr, options.muon_wd};
  config.ema_decay = options.ema;
  config.lookahead = {options.lookahead.value_or(0), options.lookahead_alpha, options.lookahead_power};
  config.evaluate_averaged = options.averaged_weights;
  const double gamma = options.gamma.value_or(options.schedule == ScheduleKind::exponential ? 0.95 : 0.1);
  config.schedule = {options.schedule,
                     options.milestones,
                     gamma,
                     options.warmup,
                     static_cast<double>(options.epochs),
                     options.cycle_rise,
                     options.cycle_start,
                     options.cycle_end};
  config.label_smoothing = options.label_smoothing;
  config.mixup = options.mixup;
  config.augmentation = options.augment.value_or(Augmentation{});
  config.seed = static_cast<std::uint64_t>(options.seed);
  config.step_mode = options.step;
  std::copy(normalisation.mean.begin(), normalisation.mean.end(), config.mean.begin());
  std::copy(normalisation.stddev.begin(), normalisation.stddev.end(), config.std.begin());
  return config;
}

Normalisation normalisation_for(const std::string& name, std::int64_t channels) {
  const auto count = static_cast<std::size_t>(channels);
  if (name == "none") return {std::vector<float>(count, 0.0f), std::vector<float>(count, 1.0f)};
  const Normalisation* const published = published_normalisation(name);
  const Normalisation normalisation = published != nullptr ? *published : parse_normalisation(name);
  if (normalisation.mean.size() != count)
    fail(ErrorKind::usage, fmt::format("--normalize {} is for pictures of {} channels, these have {}", name,
                                       normalisation.mean.size(), count));
  return normalisation;
}

double training_flops(const Model& network) {
  return 6.0 * static_cast<double>(network.multiply_adds());
}

std::string count_of(std::int64_t count, const std::string& what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

std::string percent(double fraction) {
  return fmt::format("{:.2f} %", 100.0 * fraction);
}

}  // namespace zeroth::app
