#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/optimizer.h"
#include "engine/parallel/placement.h"
#include "engine/plateau.h"
#include "engine/repeated_step.h"
#include "engine/schedule.h"
#include "engine/test_views.h"
#include "kernels/augment/augment.h"
#include "kernels/residual/residual.h"
#include "models/resnet.h"

namespace zeroth::app {

/// What happens at a step whose gradients are not finite, where no dynamic loss scale takes care of it.
enum class OnNonfinite : std::uint8_t { stop, skip };

/// Which of cuDNN's plans for a convolution is taken.
enum class CudnnPlans : std::uint8_t {
  heuristic,  ///< the one that cuDNN holds to be best
  timed       ///< the fastest, timed where none was before; with --deterministic as heuristic
};

/// How an epoch's pictures are drawn: each once, or independently of one another.
enum class Sampling : std::uint8_t { shuffle, replacement };

/// How much of the values ranks share, where they share them.
enum class Placement : std::uint8_t { fixed, automatic };

/// What the number of ranks does to the learning rate.
enum class ScaleLr : std::uint8_t { none, linear };

/// Everything a training is told: the resolved configuration. The table of settings below gives each member
/// its flag, key, environment variable, range and help.
struct TrainOptions {
  std::string recipe = "quick";

  std::string model = "rezero-resnet20";
  std::optional<ResidualForm> residual;
  ShortcutKind shortcut = ShortcutKind::b;
  double alpha_init = 0.0;
  std::string init;

  std::string data;
  std::string normalize;
  std::optional<std::int64_t> picture_size;
  std::optional<double> test_share;
  std::int64_t val_split = 0;
  Sampling sampling = Sampling::shuffle;
  std::optional<Augmentation> augment;  ///< unset until the data set has decided

  std::int64_t epochs = 10;
  std::optional<std::int64_t> max_steps;
  std::int64_t batch_size = 128;
  OptimizerKind optimizer = OptimizerKind::sgd;
  double lr = 0.1, momentum = 0.9;
  bool nesterov = false;
  double weight_decay = 5e-4;
  std::optional<double> alpha_lr, alpha_wd;
  std::array<double, 2> betas{0.9, 0.999};
  double eps = 1e-8;
  std::optional<double> bias_lr, bias_wd;  ///< of biases and of batch norm's parameters
  double muon_lr = 0.02, muon_momentum = 0.95, muon_wd = 0.0;
  std::int64_t muon_iterations = 5;
  bool muon_normalize = false;
  std::optional<double> ema;
  std::optional<std::int64_t> lookahead;
  double lookahead_alpha = 0.5, lookahead_power = 0.0;
  bool averaged_weights = true;  ///< where there are any: those are evaluated and used
  double label_smoothing = 0.0, mixup = 0.0;
  ScheduleKind schedule = ScheduleKind::constant;
  std::vector<double> milestones;
  std::optional<double> gamma;
  double warmup = 0.0;
  double cycle_rise = 0.3, cycle_start = 0.04, cycle_end = 4e-6;
  PlateauRule plateau;
  std::optional<std::int64_t> early_stop;
  double clip_norm = 0.0;  ///< 0: off
  OnNonfinite nonfinite = OnNonfinite::stop;
  std::int64_t seed = 0;

  std::string device = "auto";
  DType amp = DType::f32;            ///< storage dtype of activations and working weights
  std::optional<double> loss_scale;  ///< fixed; unset: dynamic
  std::int64_t loss_scale_growth_interval = 2000, loss_scale_hysteresis = 1;
  std::optional<std::int64_t> threads;
  bool deterministic = false, sync_launches = false;
  bool tf32 = false;
  CudnnPlans cudnn_plans = CudnnPlans::timed;
  std::optional<StepMode> step;  ///< unset: by the device
  std::vector<std::string> impl;

  std::optional<std::int64_t> ranks;  ///< that train together; batch_size is of each
  bool bn_sync = false;
  std::int64_t max_restarts = 0;
  double join_timeout = 60.0, peer_timeout = 10.0, hang_timeout = 300.0;  ///< seconds
  Sharing parallel = Sharing::nothing;
  Offload offload = Offload::nothing;
  Placement placement = Placement::fixed;
  double shard_fraction = 1.0;
  std::optional<std::int64_t> memory_budget;  ///< bytes
  ScaleLr scale_lr = ScaleLr::none;

  TestViews tta = TestViews::one;
  std::string config, out, resume;
  std::int64_t save_every = 5, keep = 0;
  std::optional<double> target_acc;
  bool tensorboard = false, quiet = false;
};

/// What a configuration file may hold for a setting.
enum class ValueType : std::uint8_t { integer, real, boolean, text, list };

/// One line of the table: everything that command line, configuration file, environment and messages need to
/// know of a member of TrainOptions. Values pass as text; a list is joined by commas.
struct Setting {
  std::string key;          ///< "batch_size"
  std::string placeholder;  ///< "N"; empty for a boolean
  std::string group;        ///< heading in --help
  std::string help;
  std::string unset;  ///< what holds while there is no value: "as lr"; empty where there always is one
  ValueType type = ValueType::text;

  bool may_change = false;       ///< by a resumed run
  bool recorded = true;          ///< in config.toml
  bool in_checkpoint = true;     ///< part of what a checkpoint says of its training
  bool from_environment = true;  ///< ZEROTH_KEY is read
  bool from_file = true;         ///< allowed in configuration files

  /// When the setting has an effect. Given on the command line where it has none, it is refused.
  struct Condition {
    std::string words;
    std::function<bool(const TrainOptions&)> holds;
  };
  Condition only_with;

  /// Throws Error(usage) that says what is wrong ("expected a whole number from 1 to 10, not 'x'").
  std::function<void(TrainOptions&, const std::string& text)> parse;
  /// The value as parse() takes it; empty while unset.
  std::function<std::string(const TrainOptions&)> print;

  std::string flag() const;      ///< "--batch-size"
  std::string variable() const;  ///< "ZEROTH_BATCH_SIZE"
};

/// The table, in the order of --help and config.toml.
std::span<const Setting> settings();

/// The setting of that key, or nullptr.
const Setting* find_setting(const std::string& key);

/// Checks what no single setting shows: throws Error(usage) naming the settings that do not go together.
void check_together(const TrainOptions& options);

}  // namespace zeroth::app
