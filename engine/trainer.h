#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/network.h"
#include "engine/optimizer.h"
#include "engine/parallel/data_parallel.h"
#include "engine/parallel/lone_rank.h"
#include "engine/repeated_step.h"
#include "engine/schedule.h"
#include "engine/test_views.h"
#include "engine/weight_average.h"
#include "kernels/augment/augment.h"

namespace zeroth {

/// Labelled pictures, resident on a device.
struct PictureSet {
  Tensor pictures;  ///< (M, H, W, C) u8
  Tensor labels;    ///< (M) i32
  std::int64_t classes = 0;

  std::int64_t size() const { return pictures.shape()[0]; }
};

/// Lookahead (Zhang et al., 2019): every `every` updates the slow weights move a share of the way to the fast
/// ones, which begin anew from there. At the share s of the training's steps the share is
/// 1 - (1 - alpha) s^power: alpha itself with power 0, as published; airbench94's begins near 1 and ends at
/// alpha, with power 3.
struct LookaheadConfig {
  std::int64_t every = 0;  ///< 0: none
  double alpha = 0.5, power = 0.0;
};

struct TrainerConfig {
  std::int64_t batch_size = 128;        ///< of one rank
  std::int64_t pictures_per_epoch = 0;  ///< how many indices an epoch's order has; 0: as many as the set
  OptimizerConfig optimizer;
  std::array<GroupRates, kParameterGroups> rates;  ///< before the schedule's factor
  Schedule schedule;
  LookaheadConfig lookahead;
  std::optional<double> ema_decay;  ///< of the weights' moving average, beside the training; warmed up
  bool evaluate_averaged = true;    ///< where there is an average: evaluate() takes it, not the weights
  double label_smoothing = 0.0;
  double mixup = 0.0;  ///< alpha of the Beta distribution of shares (mixup_share.h); 0: off
  Augmentation augmentation;
  std::array<double, 4> mean{}, std{1, 1, 1, 1};  ///< of each picture channel, in units of [0, 1]
  std::uint64_t seed = 0;
  /// How steps are queued (repeated_step.h); by the device where it is not set: captured on cuda, planned on
  /// cpu, eager on simt, which is there to find faults.
  std::optional<StepMode> step_mode;
  /// Ranks that train together, for which the network's parameters have been materialised: rank r of k takes
  /// entries r * batch_size on of the next k * batch_size of an epoch's order. Outlives the trainer.
  Communicator* communicator = nullptr;
  /// Ranks whose pictures batch norm takes for one batch (batch_norm_ranks.h); null: each rank's for itself.
  const RankGroup* batch_norm_group = nullptr;
};

/// Sums since they were last read.
struct Metrics {
  double loss = 0.0;  ///< mean over rows
  std::int64_t correct = 0, rows = 0;
  double error() const {
    return rows == 0 ? 0.0 : 1.0 - static_cast<double>(correct) / static_cast<double>(rows);
  }
};

struct Evaluation {
  Metrics metrics;
  std::vector<std::int64_t> class_rows, class_correct;  ///< of each true class
};

/// A tensor with the name under which a checkpoint holds it.
struct NamedTensor {
  std::string name;
  Tensor value;
};

/// A copy of a whole tensor on the host, under the name under which a checkpoint holds it.
struct HostTensor {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  std::vector<std::byte> bytes;
};

/// Trains a network on pictures: an epoch is one pass over the training set in an order of its own, the last
/// partial batch left out. Every random number follows from (seed, epoch, picture), so a trainer that
/// continues at step k computes the bits it would have computed without the interruption.
class Trainer {
 public:
  /// The order of the training pictures in an epoch, from 0 on: pictures_per_epoch indices into the set.
  using EpochOrder = std::function<std::vector<std::int32_t>(std::uint32_t epoch)>;

  /// Throws Error(usage) when a batch is larger than the set.
  Trainer(Context& context, Network& network, PictureSet train, const TrainerConfig& config,
          EpochOrder order);

  /// One optimizer step: gather and augment, forward, loss, backward, update. Queues work on the stream and
  /// reads nothing back. All modes compute the same bits.
  void step();
  /// How the last step was queued, and one line that says why it is not what was configured, or nothing.
  StepMode step_mode() const { return repeated_.mode(); }
  const std::string& step_notice() const { return repeated_.notice(); }

  std::int64_t steps_taken() const { return optimizer_.steps_taken(); }
  std::int64_t steps_per_epoch() const { return steps_per_epoch_; }
  /// The epoch of the next step, from 0 on.
  std::int64_t epoch() const { return steps_taken() / steps_per_epoch_; }
  bool at_epoch_start() const { return steps_taken() % steps_per_epoch_ == 0; }
  /// The schedule's factor for the next step, and what set_rate_scale() put on top.
  double rate_factor() const {
    return rate_scale_ * config_.schedule.factor(steps_taken(), steps_per_epoch_);
  }
  /// Multiplies all learning rates from the next step on: what was decided while the run went on.
  void set_rate_scale(double scale) { rate_scale_ = scale; }
  const TrainerConfig& config() const { return config_; }

  /// Loss and errors of the training batches of all ranks since they were last taken. Waits for the stream.
  /// The bits of a sum depend on where it began: who only looks does not take. All ranks call it.
  Metrics metrics();
  /// The same, and begins anew.
  Metrics take_metrics();

  /// Inference over the pictures of a set, or over those that `indices` names; each is counted once, the last
  /// partial batch included. With averaged weights, where there are any: the EMA, else Lookahead's slow ones.
  /// `stop` is asked after every batch of 500, and ends it early, with what has been counted until then.
  Evaluation evaluate(const PictureSet& set, std::span<const std::int32_t> indices = {},
                      TestViews views = TestViews::one, const std::function<bool()>& stop = {});

  /// Gradient norm, loss scale and skipped steps: StepGuard::take_report(). Waits for the stream.
  StepReport take_report() { return optimizer_.guard().take_report(); }

  /// Takes the batch of a step again, with the weights there are now and without an update, and says in words
  /// what stops being finite first: a parameter, an operation's result on the way forward, a parameter's
  /// gradient on the way back; nothing where all is finite. After a step that the guard did not let through,
  /// that is what happened in it. Waits for every operation. Nothing where ranks train together.
  std::string find_nonfinite(std::int64_t step);

  /// Of one rank, or of several where they share nothing: weights, state, moments, averages, the guard's
  /// state and the sums of metrics(): what a checkpoint holds, and with steps_taken() all that resuming
  /// needs. Masters in mixed precision are the weights here; working copies, schedule and random numbers
  /// follow from these and the number of steps.
  std::vector<NamedTensor> tensors() const;
  /// The same, whole, whatever ranks share. All ranks call it and get it; waits for the stream.
  std::vector<HostTensor> gather_state();
  /// The same without bytes.
  std::vector<HostTensor> state_layout() const;
  static constexpr const char* kMetricsName = "metrics";  ///< sums of each rank, one behind the other
  /// Whether older checkpoints lack a tensor, which then begins anew or is made up for.
  static bool may_lack(const std::string& name) { return name.starts_with("guard.") || name == kMetricsName; }
  /// Takes what gather_state() gave at any number of ranks, after `steps` steps; `bytes_of` finds a tensor,
  /// of the size that state_layout() says, or nothing where may_lack().
  void scatter_state(const std::function<std::span<const std::byte>(const std::string& name)>& bytes_of,
                     std::int64_t steps);
  /// After the tensors have been filled from a checkpoint. Position and schedule follow from the number of
  /// steps.
  void resume_at(std::int64_t steps);
  /// After the weights have been written by somebody else: averages begin with them.
  void restart_averages();

 private:
  void begin_step();
  void upload_order(std::int64_t epoch);
  void set_batch(std::int64_t step);
  void set_shares();
  Tensor queue_batch();
  void queue_step();
  struct FlatBuffer {
    std::string prefix;  // of a parameter's name
    Tensor value;
  };
  std::vector<FlatBuffer> flat_buffers() const;
  std::vector<NamedTensor> small_tensors() const;
  std::vector<double> metrics_of_ranks();
  void set_metrics(std::span<const double> of_ranks);
  static TrainerConfig with_communicator(TrainerConfig config, const ParameterStore& store, LoneRank& lone);
  bool offloads() const { return network_.store().residency().offload != Offload::nothing; }
  /// How many train together.
  int ranks() const { return config_.communicator == nullptr ? 1 : config_.communicator->size(); }

  Context& context_;
  Network& network_;
  PictureSet train_;
  LoneRank lone_;  // where parameters are shared or offloaded without a communicator
  TrainerConfig config_;
  EpochOrder order_;
  std::unique_ptr<DataParallel> parallel_;  // null without a communicator
  Optimizer optimizer_;
  std::optional<WeightAverage> lookahead_, ema_;
  std::int64_t steps_per_epoch_;
  std::int64_t order_epoch_ = -1;
  double rate_scale_ = 1.0;
  Tensor order_on_device_, labels_, other_labels_, metrics_;
  TensorView batch_;       // what augment reads of the step's place, among the optimizer's inputs
  TensorView share_;       // mixup's, likewise
  RepeatedStep repeated_;  // goes first, as its graph uses all of the above
};

/// Inference without a trainer: Trainer::evaluate. Of the configuration, only mean and std count.
Evaluation evaluate(Context& context, Network& network, const PictureSet& set, const TrainerConfig& config,
                    std::span<const std::int32_t> indices = {}, TestViews views = TestViews::one,
                    const std::function<bool()>& stop = {});

/// Logits (M, classes), row by row, of every picture of a set. Of the configuration, only mean and std count.
std::vector<double> predict(Context& context, Network& network, const PictureSet& set,
                            const TrainerConfig& config, TestViews views = TestViews::one);

}  // namespace zeroth
