#include "models/airbench.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "models/whitening.h"

namespace zeroth {

namespace {

constexpr std::int64_t kPatch = 2;      // side of the whitening layer's window
constexpr std::int64_t kSample = 5000;  // pictures it is made from
constexpr std::int64_t kLastPool = 3;   // side of the last pooling's window
constexpr double kLogitScale = 1.0 / 9.0;
constexpr BatchNormOptions kNorm{1e-12, 0.4};

/// As PyTorch begins convolutions and linear layers: U(-b, b), b = 1 / sqrt(fan_in).
double bound_of(std::int64_t fan_in) {
  return 1.0 / std::sqrt(static_cast<double>(fan_in));
}

}  // namespace

Airbench::ConvNorm Airbench::add_conv_norm(const std::string& group, int index, std::int64_t out,
                                           std::int64_t in) {
  const std::string conv = fmt::format("{}.conv{}", group, index),
                    norm = fmt::format("{}.norm{}", group, index);
  Parameter& gamma = store_.add(norm + ".weight", {out}, ParameterGroup::norm, Initialisation::constant(1.0));
  gamma.frozen = true;
  return {conv,
          norm,
          &store_.add(conv + ".weight", {out, 3, 3, in}, ParameterGroup::hidden,
                      Initialisation::identity(bound_of(9 * in))),
          &gamma,
          &store_.add(norm + ".bias", {out}, ParameterGroup::norm, Initialisation::constant(0.0)),
          &store_.add_state(norm + ".running_mean", {out}, 0.0),
          &store_.add_state(norm + ".running_var", {out}, 1.0)};
}

Airbench::Airbench(AirbenchConfig config) : config_(std::move(config)) {
  const std::int64_t smallest = (kLastPool << config_.widths.size()) + kPatch - 1;
  if (config_.height < smallest || config_.width < smallest)
    fail(ErrorKind::usage, fmt::format("model airbench takes pictures of {} x {} or more, not {} x {}",
                                       smallest, smallest, config_.height, config_.width));
  const std::int64_t patch = kPatch * kPatch * config_.picture_channels;
  std::int64_t in = 2 * patch;
  whiten_ = &store_.add("whiten.weight", {in, kPatch, kPatch, config_.picture_channels},
                        ParameterGroup::weight, Initialisation::uniform(bound_of(patch)));
  whiten_->frozen = true;
  for (std::size_t i = 0; i < config_.widths.size(); ++i) {
    const std::string name = fmt::format("group{}", i + 1);
    const std::int64_t out = config_.widths[i];
    groups_.push_back({add_conv_norm(name, 1, out, in), add_conv_norm(name, 2, out, out)});
    in = out;
  }
  head_weight_ = &store_.add("head.weight", {config_.classes, in}, ParameterGroup::weight,
                             Initialisation::uniform(bound_of(in)));
  head_bias_ =
      &store_.add("head.bias", {config_.classes}, ParameterGroup::bias, Initialisation::constant(0.0));
  head_bias_->frozen = true;
}

Variable Airbench::conv(Tape& tape, const ConvNorm& layer, const Variable& x) {
  return conv2d(tape, x, tape.parameter(*layer.weight), 1, 1);
}

Variable Airbench::norm_gelu(Tape& tape, const ConvNorm& layer, const Variable& x) {
  return gelu(tape, batch_norm(tape, x, tape.parameter(*layer.gamma), tape.parameter(*layer.beta),
                               layer.running_mean->value, layer.running_var->value, kNorm));
}

Variable Airbench::forward(Tape& tape, const Variable& x) {
  // A constant: no gradient is computed for the frozen layer.
  Variable y = gelu(tape, conv2d(tape, x, tape.constant(whiten_->working_value), 1, 0));
  for (const Group& group : groups_) {
    y = norm_gelu(tape, group.first, max_pool(tape, conv(tape, group.first, y), 2, 2, 0));
    y = norm_gelu(tape, group.second, conv(tape, group.second, y));
  }
  y = global_avg_pool(tape, max_pool(tape, y, kLastPool, kLastPool, 0));
  return scale(tape, linear(tape, y, tape.parameter(*head_weight_), tape.parameter(*head_bias_)),
               kLogitScale);
}

const std::string& Airbench::name() const {
  static const std::string name = kAirbench;
  return name;
}

std::vector<LayerInfo> Airbench::layers() const {
  std::vector<LayerInfo> table;
  Shape at{config_.height - kPatch + 1, config_.width - kPatch + 1, whiten_->shape[0]};
  const auto add_conv = [&](const std::string& name, const Shape& filter, bool trained, std::int64_t read) {
    at = {at[0], at[1], filter[0]};
    table.push_back({name, trained ? "conv2d" : "conv2d, frozen", at, trained ? filter.elements() : 0,
                     at[0] * at[1] * filter.elements(), trained ? read : 0});
  };
  const auto add_pool = [&](const std::string& name, std::int64_t window) {
    at = {at[0] / window, at[1] / window, at[2]};
    table.push_back({name, "max_pool", at, 0, 0, 0});
  };
  // Backward reads what went into the norm, and its result for the GELU.
  const auto add_norm = [&](const ConvNorm& layer) {
    table.push_back({layer.norm, "batch_norm, gelu", at, at[2], 0, 2 * at.elements()});
  };
  add_conv("whiten", whiten_->shape, false, 0);
  table.push_back({"whiten.gelu", "gelu", at, 0, 0, 0});
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    const Group& group = groups_[i];
    add_conv(group.first.conv, group.first.weight->shape, true, at.elements());
    add_pool(fmt::format("group{}.pool", i + 1), 2);
    add_norm(group.first);
    add_conv(group.second.conv, group.second.weight->shape, true, at.elements());
    add_norm(group.second);
  }
  add_pool("pool", kLastPool);
  at = {at[2]};
  const std::int64_t weights = head_weight_->shape.elements();
  table.push_back({"head", "linear, scale", {config_.classes}, weights, weights, at.elements()});
  return table;
}

void Airbench::initialise_from(Context& context, const PictureSet& train, const TrainerConfig& config) {
  const std::int64_t count = std::min(kSample, train.size());
  const auto channels = static_cast<std::size_t>(config_.picture_channels);
  const std::vector<std::uint8_t> bytes = train.pictures.slice(0, count).to_host<std::uint8_t>(context);
  std::vector<float> values(bytes.size());
  for (std::size_t i = 0; i < bytes.size(); ++i)
    values[i] = static_cast<float>((bytes[i] / 255.0 - config.mean[i % channels]) / config.std[i % channels]);
  const std::vector<float> filters =
      whitening_filters({values, count, config_.height, config_.width, config_.picture_channels}, kPatch);
  dispatch_reference(whiten_->value.dtype(), [&]<class T>(TypeTag<T>) {
    const std::vector<T> weights(filters.begin(), filters.end());
    whiten_->value.copy_from(context, std::as_bytes(std::span(weights)));
  });
  store_.refresh_working_values(context);
}

}  // namespace zeroth
