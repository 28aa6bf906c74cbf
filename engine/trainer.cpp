#include "engine/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <optional>

#include "engine/functional.h"
#include "kernels/augment/augment.h"
#include "kernels/core/profile_range.h"

namespace zeroth {

namespace {

/// The augmentation of a batch of `rows` pictures of `set`; evaluation only normalises.
AugmentParams augment_params(const PictureSet& set, std::int64_t rows, const TrainerConfig& config,
                             DType dtype, bool training) {
  const Shape& shape = set.pictures.shape();
  AugmentParams params{};
  params.pictures = shape[0];
  params.n = rows;
  params.h = shape[1];
  params.w = shape[2];
  params.c = shape[3];
  params.dtype = dtype;
  params.flip = training && config.flip;
  params.crop_padding = training ? config.crop_padding : 0;
  for (std::size_t c = 0; c < 4; ++c) {
    params.mean[c] = static_cast<float>(config.mean[c]);
    params.inverse_std[c] = static_cast<float>(1.0 / config.std[c]);
  }
  return params;
}

std::array<std::int32_t, 4> augment_key(std::uint64_t seed, std::int64_t epoch) {
  return {static_cast<std::int32_t>(seed), static_cast<std::int32_t>(seed >> 32),
          static_cast<std::int32_t>(epoch), 0};
}

Metrics read_metrics(Context& context, const Tensor& metrics) {
  const std::vector<double> sums = metrics.to_host<double>(context);
  const auto rows = static_cast<std::int64_t>(sums[2]);
  return {rows == 0 ? 0.0 : sums[0] / sums[2], static_cast<std::int64_t>(sums[1]), rows};
}

constexpr std::size_t kEvaluationBatch = 500;

}  // namespace

Trainer::Trainer(Context& context, Network& network, PictureSet train, const TrainerConfig& config,
                 EpochOrder order)
    : context_(context),
      network_(network),
      train_(std::move(train)),
      config_(config),
      order_(std::move(order)),
      optimizer_(context, network.store(), config.optimizer),
      steps_per_epoch_(0) {
  if (config_.pictures_per_epoch == 0) config_.pictures_per_epoch = train_.size();
  if (config.batch_size > 0) steps_per_epoch_ = config_.pictures_per_epoch / config.batch_size;
  if (steps_per_epoch_ == 0)
    fail(ErrorKind::usage, fmt::format("a batch of {} pictures cannot be drawn from the {} of an epoch",
                                       config.batch_size, config_.pictures_per_epoch));
  order_on_device_ = Tensor::empty(context, {config_.pictures_per_epoch}, DType::i32);
  indices_ = Tensor::empty(context, {config.batch_size}, DType::i32);
  labels_ = Tensor::empty(context, {config.batch_size}, DType::i32);
  key_ = Tensor::empty(context, {4}, DType::i32);
  metrics_ = Tensor::zeros(context, {3}, DType::f64);
  optimizer_.guard().watch_metrics(metrics_);
}

void Trainer::start_epoch(std::int64_t epoch) {
  const std::vector<std::int32_t> order = order_(static_cast<std::uint32_t>(epoch));
  require(static_cast<std::int64_t>(order.size()) == config_.pictures_per_epoch,
          "an epoch's order has pictures_per_epoch indices");
  order_on_device_.copy_from(context_, std::as_bytes(std::span(order)));
  const std::array<std::int32_t, 4> key = augment_key(config_.seed, epoch);
  context_.upload(key_, std::as_bytes(std::span<const std::int32_t>(key)));
  order_epoch_ = epoch;
}

void Trainer::step() {
  const ProfileRange range("step");
  if (order_epoch_ != epoch()) start_epoch(epoch());
  const std::int64_t begin = steps_taken() % steps_per_epoch_ * config_.batch_size;
  const TensorView indices = indices_;
  context_.memory().copy_on_device(indices.data,
                                   ConstTensorView(order_on_device_.slice(begin, config_.batch_size)).data,
                                   indices.bytes(), context_.stream());

  std::optional<ProfileRange> phase("augment");
  const AugmentParams params =
      augment_params(train_, config_.batch_size, config_, network_.store().working_dtype(), true);
  const Tensor x = Tensor::empty(context_, {params.n, params.h, params.w, params.c}, params.dtype);
  augment_forward(context_, params, train_.pictures, train_.labels, indices_, key_, x, labels_);

  std::array<GroupRates, kParameterGroups> rates = config_.rates;
  for (GroupRates& group : rates) group.learning_rate *= rate_factor();
  optimizer_.set_rates(rates);

  optimizer_.guard().begin_step();
  phase.emplace("forward");
  Tape tape(context_, Tape::Mode::training);
  const Variable logits = network_.forward(tape, tape.constant(x));
  const Loss loss = softmax_cross_entropy(tape, logits, labels_, config_.label_smoothing, metrics_);
  phase.emplace("backward");
  tape.backward(loss.loss, optimizer_.guard().loss_scale());
  phase.emplace("update");
  optimizer_.step();
}

Metrics Trainer::take_metrics() {
  const Metrics metrics = read_metrics(context_, metrics_);
  const TensorView view = metrics_;
  context_.memory().fill_zero(view.data, view.bytes(), context_.stream());
  return metrics;
}

Evaluation Trainer::evaluate(const PictureSet& set, std::span<const std::int32_t> indices) {
  return zeroth::evaluate(context_, network_, set, config_, indices);
}

Evaluation evaluate(Context& context, Network& network, const PictureSet& set, const TrainerConfig& config,
                    std::span<const std::int32_t> indices) {
  std::vector<std::int32_t> all(indices.begin(), indices.end());
  if (indices.empty()) {
    all.resize(static_cast<std::size_t>(set.size()));
    std::iota(all.begin(), all.end(), 0);
  }
  Evaluation result;
  result.class_rows.resize(static_cast<std::size_t>(set.classes));
  result.class_correct.resize(static_cast<std::size_t>(set.classes));
  const Tensor metrics = Tensor::zeros(context, {3}, DType::f64);
  const Tensor key = Tensor::from_host<std::int32_t>(context, {4}, augment_key(0, 0));
  const ProfileRange range("evaluation");
  for (std::size_t begin = 0; begin < all.size(); begin += kEvaluationBatch) {
    const std::span<const std::int32_t> batch =
        std::span(all).subspan(begin, std::min<std::size_t>(kEvaluationBatch, all.size() - begin));
    const auto rows = static_cast<std::int64_t>(batch.size());
    const AugmentParams params = augment_params(set, rows, config, network.store().working_dtype(), false);
    const Tensor x = Tensor::empty(context, {rows, params.h, params.w, params.c}, params.dtype);
    const Tensor labels = Tensor::empty(context, {rows}, DType::i32);
    const Tensor batch_indices = Tensor::from_host<std::int32_t>(context, {rows}, batch);
    augment_forward(context, params, set.pictures, set.labels, batch_indices, key, x, labels);
    Tape tape(context, Tape::Mode::inference);
    const Loss loss =
        softmax_cross_entropy(tape, network.forward(tape, tape.constant(x)), labels, 0.0, metrics);
    const auto truth = labels.to_host<std::int32_t>(context),
               guess = loss.predictions.to_host<std::int32_t>(context);
    for (std::size_t row = 0; row < truth.size(); ++row) {
      ++result.class_rows[static_cast<std::size_t>(truth[row])];
      result.class_correct[static_cast<std::size_t>(truth[row])] += truth[row] == guess[row];
    }
  }
  result.metrics = read_metrics(context, metrics);
  return result;
}

std::vector<NamedTensor> Trainer::tensors() const {
  std::vector<NamedTensor> all;
  for (const Parameter& parameter : network_.store().parameters())
    all.push_back({parameter.name, parameter.value});
  for (const StateTensor& tensor : network_.store().state()) all.push_back({tensor.name, tensor.value});
  for (const Optimizer::Moment& moment : optimizer_.moments())
    for (const Parameter& parameter : network_.store().parameters())
      all.push_back({"optimizer." + moment.name + "." + parameter.name,
                     moment.value.range(parameter.offset, parameter.shape)});
  all.push_back({"guard.loss_scale", optimizer_.guard().loss_scale()});
  all.push_back({"guard.counters", optimizer_.guard().counters()});
  return all;
}

void Trainer::resume_at(std::int64_t steps) {
  network_.store().refresh_working_values(context_);
  optimizer_.resume_at(steps);
  order_epoch_ = -1;
}

}  // namespace zeroth
