#include "engine/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "engine/functional.h"
#include "engine/mixup_share.h"
#include "engine/nonfinite.h"
#include "kernels/core/profile_range.h"
#include "kernels/mixup/mixup.h"

namespace zeroth {

namespace {

/// The augmentation of `rows` pictures of `set`, from an order of `order`; evaluation only normalises.
AugmentParams augment_params(const PictureSet& set, std::int64_t order, std::int64_t rows,
                             const TrainerConfig& config, DType dtype, bool training) {
  const Shape& shape = set.pictures.shape();
  AugmentParams params{};
  params.pictures = shape[0];
  params.order = order;
  params.n = rows;
  params.h = shape[1];
  params.w = shape[2];
  params.c = shape[3];
  params.dtype = dtype;
  params.augmentation = training ? config.augmentation : Augmentation::none();
  for (std::size_t c = 0; c < 4; ++c) {
    params.mean[c] = static_cast<float>(config.mean[c]);
    params.inverse_std[c] = static_cast<float>(1.0 / config.std[c]);
  }
  return params;
}

/// The batch that starts at entry `first` of an epoch's order, as augment takes it.
std::array<std::int32_t, 4> batch_words(std::uint64_t seed, std::int64_t epoch, std::int64_t first) {
  return {static_cast<std::int32_t>(seed), static_cast<std::int32_t>(seed >> 32),
          static_cast<std::int32_t>(epoch), static_cast<std::int32_t>(first)};
}

Metrics read_metrics(Context& context, const Tensor& metrics) {
  const std::vector<double> sums = metrics.to_host<double>(context);
  const auto rows = static_cast<std::int64_t>(sums[2]);
  return {rows == 0 ? 0.0 : sums[0] / sums[2], static_cast<std::int64_t>(sums[1]), rows};
}

StepMode default_step_mode(DeviceKind device) {
  return device == DeviceKind::cuda  ? StepMode::captured
         : device == DeviceKind::cpu ? StepMode::planned
                                     : StepMode::eager;
}

constexpr std::int64_t kEvaluationBatch = 500;

/// Calls use(logits, labels) for all pictures, or those that `indices` names, a batch at a time, until it
/// returns false. The network sees them in inference: normalised, not augmented but for the views.
template <class Use>
void for_each_batch(Context& context, Network& network, const PictureSet& set, const TrainerConfig& config,
                    std::span<const std::int32_t> indices, TestViews views, Use&& use) {
  std::vector<std::int32_t> all(indices.begin(), indices.end());
  if (indices.empty()) {
    all.resize(static_cast<std::size_t>(set.size()));
    std::iota(all.begin(), all.end(), 0);
  }
  const auto pictures = static_cast<std::int64_t>(all.size());
  const Tensor order = Tensor::from_host<std::int32_t>(context, {pictures}, all);
  const Tensor place = Tensor::empty(context, {4}, DType::i32);
  for (std::int64_t begin = 0; begin < pictures; begin += kEvaluationBatch) {
    const std::int64_t rows = std::min(kEvaluationBatch, pictures - begin);
    const std::array<std::int32_t, 4> words = batch_words(0, 0, begin);
    context.upload(place, std::as_bytes(std::span<const std::int32_t>(words)));
    const AugmentParams params =
        augment_params(set, pictures, rows, config, network.store().working_dtype(), false);
    const Tensor labels = Tensor::empty(context, {rows}, DType::i32);
    const auto logits_of = [&](const TestView& view) {
      const Tensor x = Tensor::empty(context, {rows, params.h, params.w, params.c}, params.dtype);
      augment_forward(context, view.of(params), set.pictures, set.labels, order, place, x, labels);
      Tape tape(context, Tape::Mode::inference);
      return network.forward(tape, tape.constant(x)).value;
    };
    if (views == TestViews::one) {
      if (!use(logits_of({}), labels)) return;
      continue;
    }
    MeanLogits mean;
    for (const TestView& view : views_of(views)) mean.add(context, logits_of(view), view.weight);
    if (!use(mean.mean(context), labels)) return;
  }
}

}  // namespace

Trainer::Trainer(Context& context, Network& network, PictureSet train, const TrainerConfig& config,
                 EpochOrder order)
    : context_(context),
      network_(network),
      train_(std::move(train)),
      config_(with_communicator(config, network.store(), lone_)),
      order_(std::move(order)),
      parallel_(config_.communicator == nullptr
                    ? nullptr
                    : std::make_unique<DataParallel>(context, network.store(), *config_.communicator)),
      optimizer_(context, network.store(), config.optimizer),
      steps_per_epoch_(0),
      repeated_(context, config.step_mode.value_or(default_step_mode(context.device().kind)),
                parallel_ == nullptr ? "" : parallel_->why_no_capture()) {
  if (config_.pictures_per_epoch == 0) config_.pictures_per_epoch = train_.size();
  if (config.batch_size > 0) steps_per_epoch_ = config_.pictures_per_epoch / (ranks() * config.batch_size);
  if (steps_per_epoch_ == 0)
    fail(ErrorKind::usage,
         fmt::format("a batch of {} pictures cannot be drawn from the {} of an epoch; take a --batch-size of "
                     "at most {}",
                     ranks() * config.batch_size, config_.pictures_per_epoch,
                     config_.pictures_per_epoch / ranks()));
  if (network.store().shares()) optimizer_.guard().judge_together(*config_.communicator);
  order_on_device_ = Tensor::empty(context, {config_.pictures_per_epoch}, DType::i32);
  labels_ = Tensor::empty(context, {config.batch_size}, DType::i32);
  batch_ = optimizer_.inputs().add({4}, DType::i32);
  if (config.mixup > 0.0) {
    other_labels_ = Tensor::empty(context, {config.batch_size}, DType::i32);
    share_ = optimizer_.inputs().add({1}, network.store().flat_values().dtype());
  }
  metrics_ = Tensor::zeros(context, {3}, DType::f64);
  optimizer_.guard().watch_metrics(metrics_);
  if ((config.ema_decay || config.lookahead.every > 0) && (offloads() || network.store().shares()))
    fail(ErrorKind::usage,
         "averages of weights are taken of whole ones on the device: they go with --parallel ddp, without "
         "--offload");
  StepInputs& inputs = optimizer_.inputs();
  if (config.lookahead.every > 0)
    lookahead_.emplace(context, network.store(), inputs,
                       AverageConfig{kLookaheadName, config.lookahead.every, false, true});
  if (config.ema_decay)
    ema_.emplace(context, network.store(), inputs, AverageConfig{kEmaName, 1, true, false});
}

TrainerConfig Trainer::with_communicator(TrainerConfig config, const ParameterStore& store, LoneRank& lone) {
  const bool needs = store.shares() || store.residency().offload != Offload::nothing;
  if (config.communicator == nullptr && needs) config.communicator = &lone;
  return config;
}

void Trainer::upload_order(std::int64_t epoch) {
  if (order_epoch_ == epoch) return;
  const std::vector<std::int32_t> order = order_(static_cast<std::uint32_t>(epoch));
  require(static_cast<std::int64_t>(order.size()) == config_.pictures_per_epoch,
          "an epoch's order has pictures_per_epoch indices");
  order_on_device_.copy_from(context_, std::as_bytes(std::span(order)));
  order_epoch_ = epoch;
}

/// Which pictures step `step`, from 0 on, takes on this rank, and how they are mixed.
void Trainer::set_batch(std::int64_t step) {
  const std::int64_t epoch = step / steps_per_epoch_;
  upload_order(epoch);
  const std::int64_t first =
      step % steps_per_epoch_ * ranks() + (parallel_ ? config_.communicator->rank() : 0);
  const std::array<std::int32_t, 4> batch = batch_words(config_.seed, epoch, first * config_.batch_size);
  optimizer_.inputs().set(batch_, std::as_bytes(std::span<const std::int32_t>(batch)));
  if (config_.mixup > 0.0)
    dispatch_reference(share_.dtype, [&]<class T>(TypeTag<T>) {
      const T share = static_cast<T>(mixup_share(config_.mixup, config_.seed, step));
      optimizer_.inputs().set(share_, std::as_bytes(std::span(&share, 1)));
    });
}

/// Uploads what this step has of its own.
void Trainer::begin_step() {
  set_batch(steps_taken());
  std::array<GroupRates, kParameterGroups> rates = config_.rates;
  for (GroupRates& group : rates) group.learning_rate *= rate_factor();
  optimizer_.set_rates(rates);
  set_shares();
  optimizer_.begin_step();
  if (parallel_) parallel_->release_values();
}

/// What averages take of the weights in this step.
void Trainer::set_shares() {
  if (ema_) ema_->set_share(optimizer_.inputs(), 1.0 - *config_.ema_decay);
  if (!lookahead_) return;
  const double steps = config_.schedule.epochs * static_cast<double>(steps_per_epoch_);
  const double done = std::min(1.0, static_cast<double>(steps_taken() + 1) / steps);
  lookahead_->set_share(optimizer_.inputs(),
                        1.0 - (1.0 - config_.lookahead.alpha) * std::pow(done, config_.lookahead.power));
}

/// The batch that set_batch() chose, as the network sees it; its labels go where the trainer keeps them.
Tensor Trainer::queue_batch() {
  const AugmentParams params = augment_params(train_, config_.pictures_per_epoch, config_.batch_size, config_,
                                              network_.store().working_dtype(), true);
  Tensor x = Tensor::empty(context_, {params.n, params.h, params.w, params.c}, params.dtype);
  augment_forward(context_, params, train_.pictures, train_.labels, order_on_device_, batch_, x, labels_);
  if (config_.mixup > 0.0) mixup_forward(context_, x, labels_, share_, other_labels_);
  return x;
}

/// The step itself, the same work every time.
void Trainer::queue_step() {
  std::optional<ProfileRange> phase("augment");
  const Tensor x = queue_batch();
  optimizer_.guard().begin_step();
  if (parallel_) parallel_->begin_step();
  phase.emplace("forward");
  Tape tape(context_, Tape::Mode::training);
  tape.set_batch_norm_group(config_.batch_norm_group);
  const Variable logits = network_.forward(tape, tape.constant(x));
  const Loss loss = softmax_cross_entropy(tape, logits, labels_, config_.label_smoothing, metrics_,
                                          {other_labels_, share_});
  phase.emplace("backward");
  tape.backward(loss.loss, optimizer_.guard().seed());
  if (parallel_) parallel_->join_gradients();
  phase.emplace("update");
  optimizer_.queue_update();
  if (lookahead_) lookahead_->queue(optimizer_.guard());
  if (ema_) ema_->queue(optimizer_.guard());
  if (parallel_ && !offloads()) parallel_->share_values();
}

void Trainer::step() {
  const ProfileRange range("step");
  begin_step();
  repeated_.run([this] { queue_step(); });
  if (!offloads()) return;
  optimizer_.update_on_host();
  parallel_->share_values();
}

Metrics Trainer::metrics() {
  if (!parallel_) return read_metrics(context_, metrics_);
  const Tensor sums = Tensor::from_host<double>(context_, {3}, metrics_.to_host<double>(context_));
  config_.communicator->all_reduce(context_, sums, RankReduction::sum);
  config_.communicator->join(context_);
  return read_metrics(context_, sums);
}

std::string Trainer::find_nonfinite(std::int64_t step) {
  if (parallel_) return {};
  set_batch(step - 1);
  optimizer_.inputs().upload();
  const Tensor x = queue_batch();
  StepGuard& guard = optimizer_.guard();
  guard.begin_step();
  Tape tape(context_, Tape::Mode::training);
  tape.keep_results();
  const Variable logits = network_.forward(tape, tape.constant(x));
  const Loss loss = softmax_cross_entropy(tape, logits, labels_, config_.label_smoothing, Tensor(),
                                          {other_labels_, share_});
  std::string found = nonfinite_result(context_, network_.store(), tape);
  if (found.empty()) {
    tape.backward(loss.loss, guard.loss_scale());
    found = nonfinite_gradient(context_, network_.store());
  }
  guard.restore_state();
  return found;
}

Metrics Trainer::take_metrics() {
  const Metrics sums = metrics();
  const TensorView view = metrics_;
  context_.memory().fill_zero(view.data, view.bytes(), context_.stream());
  return sums;
}

Evaluation Trainer::evaluate(const PictureSet& set, std::span<const std::int32_t> indices, TestViews views,
                             const std::function<bool()>& stop) {
  std::optional<WeightAverage::InPlace> averaged;
  if (config_.evaluate_averaged && (ema_ || lookahead_)) averaged.emplace(ema_ ? *ema_ : *lookahead_);
  return zeroth::evaluate(context_, network_, set, config_, indices, views, stop);
}

Evaluation evaluate(Context& context, Network& network, const PictureSet& set, const TrainerConfig& config,
                    std::span<const std::int32_t> indices, TestViews views,
                    const std::function<bool()>& stop) {
  Evaluation result;
  result.class_rows.resize(static_cast<std::size_t>(set.classes));
  result.class_correct.resize(static_cast<std::size_t>(set.classes));
  const Tensor metrics = Tensor::zeros(context, {3}, DType::f64);
  const ProfileRange range("evaluation");
  for_each_batch(context, network, set, config, indices, views, [&](Tensor logits, const Tensor& labels) {
    Tape tape(context, Tape::Mode::inference);
    const Loss loss = softmax_cross_entropy(tape, tape.constant(std::move(logits)), labels, 0.0, metrics);
    const auto truth = labels.to_host<std::int32_t>(context),
               guess = loss.predictions.to_host<std::int32_t>(context);
    for (std::size_t row = 0; row < truth.size(); ++row) {
      ++result.class_rows[static_cast<std::size_t>(truth[row])];
      result.class_correct[static_cast<std::size_t>(truth[row])] += truth[row] == guess[row];
    }
    return !stop || !stop();
  });
  result.metrics = read_metrics(context, metrics);
  return result;
}

std::vector<double> predict(Context& context, Network& network, const PictureSet& set,
                            const TrainerConfig& config, TestViews views) {
  std::vector<double> logits;
  for_each_batch(context, network, set, config, {}, views, [&](const Tensor& batch, const Tensor&) {
    const std::vector<double> numbers = numbers_of(context, batch);
    logits.insert(logits.end(), numbers.begin(), numbers.end());
    return true;
  });
  return logits;
}

void Trainer::restart_averages() {
  if (lookahead_) lookahead_->restart();
  if (ema_) ema_->restart();
}

}  // namespace zeroth
