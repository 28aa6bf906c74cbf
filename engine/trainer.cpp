#include "engine/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <optional>

#include "engine/functional.h"
#include "kernels/core/profile_range.h"

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

/// Calls use(x, labels) with all pictures, or those that `indices` names, a batch at a time, as a network
/// sees them in evaluation: normalised, not augmented.
template <class Use>
void for_each_batch(Context& context, const Network& network, const PictureSet& set,
                    const TrainerConfig& config, std::span<const std::int32_t> indices, Use&& use) {
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
    const Tensor x = Tensor::empty(context, {rows, params.h, params.w, params.c}, params.dtype);
    const Tensor labels = Tensor::empty(context, {rows}, DType::i32);
    augment_forward(context, params, set.pictures, set.labels, order, place, x, labels);
    use(x, labels);
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
    fail(ErrorKind::usage, fmt::format("a batch of {} pictures cannot be drawn from the {} of an epoch",
                                       ranks() * config.batch_size, config_.pictures_per_epoch));
  if (network.store().shares()) optimizer_.guard().judge_together(*config_.communicator);
  order_on_device_ = Tensor::empty(context, {config_.pictures_per_epoch}, DType::i32);
  labels_ = Tensor::empty(context, {config.batch_size}, DType::i32);
  batch_ = optimizer_.inputs().add({4}, DType::i32);
  metrics_ = Tensor::zeros(context, {3}, DType::f64);
  optimizer_.guard().watch_metrics(metrics_);
}

TrainerConfig Trainer::with_communicator(TrainerConfig config, const ParameterStore& store, LoneRank& lone) {
  const bool needs = store.shares() || store.residency().offload != Offload::nothing;
  if (config.communicator == nullptr && needs) config.communicator = &lone;
  return config;
}

/// Uploads what this step has of its own.
void Trainer::begin_step() {
  const std::int64_t current = epoch();
  if (order_epoch_ != current) {
    const std::vector<std::int32_t> order = order_(static_cast<std::uint32_t>(current));
    require(static_cast<std::int64_t>(order.size()) == config_.pictures_per_epoch,
            "an epoch's order has pictures_per_epoch indices");
    order_on_device_.copy_from(context_, std::as_bytes(std::span(order)));
    order_epoch_ = current;
  }
  const std::int64_t first =
      steps_taken() % steps_per_epoch_ * ranks() + (parallel_ ? config_.communicator->rank() : 0);
  const std::array<std::int32_t, 4> batch = batch_words(config_.seed, current, first * config_.batch_size);
  optimizer_.inputs().set(batch_, std::as_bytes(std::span<const std::int32_t>(batch)));
  std::array<GroupRates, kParameterGroups> rates = config_.rates;
  for (GroupRates& group : rates) group.learning_rate *= rate_factor();
  optimizer_.set_rates(rates);
  optimizer_.begin_step();
  if (parallel_) parallel_->release_values();
}

/// The step itself, the same work every time.
void Trainer::queue_step() {
  std::optional<ProfileRange> phase("augment");
  const AugmentParams params = augment_params(train_, config_.pictures_per_epoch, config_.batch_size, config_,
                                              network_.store().working_dtype(), true);
  const Tensor x = Tensor::empty(context_, {params.n, params.h, params.w, params.c}, params.dtype);
  augment_forward(context_, params, train_.pictures, train_.labels, order_on_device_, batch_, x, labels_);

  optimizer_.guard().begin_step();
  if (parallel_) parallel_->begin_step();
  phase.emplace("forward");
  Tape tape(context_, Tape::Mode::training);
  tape.set_batch_norm_group(config_.batch_norm_group);
  const Variable logits = network_.forward(tape, tape.constant(x));
  const Loss loss = softmax_cross_entropy(tape, logits, labels_, config_.label_smoothing, metrics_);
  phase.emplace("backward");
  tape.backward(loss.loss, optimizer_.guard().seed());
  if (parallel_) parallel_->join_gradients();
  phase.emplace("update");
  optimizer_.queue_update();
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

Metrics Trainer::take_metrics() {
  Tensor sums = metrics_;
  if (parallel_) {
    sums = Tensor::from_host<double>(context_, {3}, metrics_.to_host<double>(context_));
    config_.communicator->all_reduce(context_, sums, Reduction::sum);
    config_.communicator->join(context_);
  }
  const Metrics metrics = read_metrics(context_, sums);
  const TensorView view = metrics_;
  context_.memory().fill_zero(view.data, view.bytes(), context_.stream());
  return metrics;
}

Evaluation Trainer::evaluate(const PictureSet& set, std::span<const std::int32_t> indices) {
  return zeroth::evaluate(context_, network_, set, config_, indices);
}

Evaluation evaluate(Context& context, Network& network, const PictureSet& set, const TrainerConfig& config,
                    std::span<const std::int32_t> indices) {
  Evaluation result;
  result.class_rows.resize(static_cast<std::size_t>(set.classes));
  result.class_correct.resize(static_cast<std::size_t>(set.classes));
  const Tensor metrics = Tensor::zeros(context, {3}, DType::f64);
  const ProfileRange range("evaluation");
  for_each_batch(context, network, set, config, indices, [&](const Tensor& x, const Tensor& labels) {
    Tape tape(context, Tape::Mode::inference);
    const Loss loss =
        softmax_cross_entropy(tape, network.forward(tape, tape.constant(x)), labels, 0.0, metrics);
    const auto truth = labels.to_host<std::int32_t>(context),
               guess = loss.predictions.to_host<std::int32_t>(context);
    for (std::size_t row = 0; row < truth.size(); ++row) {
      ++result.class_rows[static_cast<std::size_t>(truth[row])];
      result.class_correct[static_cast<std::size_t>(truth[row])] += truth[row] == guess[row];
    }
  });
  result.metrics = read_metrics(context, metrics);
  return result;
}

std::vector<double> predict(Context& context, Network& network, const PictureSet& set,
                            const TrainerConfig& config) {
  std::vector<double> logits;
  for_each_batch(context, network, set, config, {}, [&](const Tensor& x, const Tensor&) {
    Tape tape(context, Tape::Mode::inference);
    const Tensor batch = network.forward(tape, tape.constant(x)).value;
    dispatch_storage(batch.dtype(), [&]<class T>(TypeTag<T>) {
      for (const T value : batch.to_host<T>(context))
        logits.push_back(static_cast<double>(to_compute(value)));
    });
  });
  return logits;
}

}  // namespace zeroth
