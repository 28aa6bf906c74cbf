#include "models/resnet.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

namespace zeroth {

ResNetConfig resnet_config(const std::string& name) {
  const std::string prefix = "rezero-";
  ResNetConfig config;
  config.name = name;
  std::string base = name;
  if (base.starts_with(prefix)) {
    base = base.substr(prefix.size());
    config.form = ResidualForm::post;
  }
  if (base == "resnet18" || base == "resnet18-cifar") {
    config.stem = base == "resnet18" ? Stem::imagenet : Stem::cifar;
    config.blocks = {2, 2, 2, 2};
    config.channels = {64, 128, 256, 512};
    config.torchvision_init = true;
    return config;
  }
  int depth = 0;
  if (base.starts_with("resnet")) {
    const char *begin = base.data() + 6, *end = base.data() + base.size();
    const auto [rest, status] = std::from_chars(begin, end, depth);
    if (status != std::errc() || rest != end) depth = 0;
  }
  if (depth < 8 || depth > 6002 || (depth - 2) % 6 != 0)
    fail(ErrorKind::usage, fmt::format("no model named '{}': there are resnet20, 32, 44, 56, 110, 1202 and "
                                       "every other depth 6n + 2, resnet18 and resnet18-cifar, each with "
                                       "rezero- before its name, and airbench",
                                       name));
  const int n = (depth - 2) / 6;
  config.blocks = {n, n, n};
  config.channels = {16, 32, 64};
  return config;
}

ResNet::ConvBn ResNet::add_conv_bn(const std::string& conv, const std::string& bn, std::int64_t out,
                                   std::int64_t in, std::int64_t window, std::int64_t stride) {
  const std::int64_t fan = window * window * (config_.torchvision_init ? out : in);
  const bool stem = store_.parameters().empty();
  return {&store_.add(conv + ".weight", {out, window, window, in},
                      stem ? ParameterGroup::weight : ParameterGroup::hidden,
                      Initialisation::kaiming_normal(fan)),
          &store_.add(bn + ".weight", {out}, ParameterGroup::norm, Initialisation::constant(1.0)),
          &store_.add(bn + ".bias", {out}, ParameterGroup::norm, Initialisation::constant(0.0)),
          &store_.add_state(bn + ".running_mean", {out}, 0.0),
          &store_.add_state(bn + ".running_var", {out}, 1.0),
          stride,
          window / 2};
}

void ResNet::add_block(const std::string& name, std::int64_t in, std::int64_t out, std::int64_t stride) {
  Block block{};
  block.name = name;
  block.out_channels = out;
  block.first = add_conv_bn(name + ".conv1", name + ".bn1", out, in, 3, stride);
  block.second = add_conv_bn(name + ".conv2", name + ".bn2", out, out, 3, 1);
  block.changes_shape = stride != 1 || in != out;
  if (block.changes_shape && config_.shortcut == ShortcutKind::b)
    block.projection = add_conv_bn(name + ".downsample.0", name + ".downsample.1", out, in, 1, stride);
  if (config_.form != ResidualForm::plain)
    block.alpha = &store_.add(name + ".alpha", {1}, ParameterGroup::alpha,
                              Initialisation::constant(config_.alpha_init));
  blocks_.push_back(std::move(block));
}

ResNet::ResNet(ResNetConfig config) : config_(std::move(config)) {
  require(!config_.blocks.empty() && config_.blocks.size() == config_.channels.size(),
          "a ResNet has as many channel counts as stages");
  const std::int64_t stem_channels = config_.channels.front();
  const bool imagenet = config_.stem == Stem::imagenet;
  stem_ = add_conv_bn("conv1", "bn1", stem_channels, config_.picture_channels, imagenet ? 7 : 3,
                      imagenet ? 2 : 1);
  std::int64_t in = stem_channels;
  for (std::size_t stage = 0; stage < config_.blocks.size(); ++stage) {
    for (int index = 0; index < config_.blocks[stage]; ++index) {
      add_block(fmt::format("layer{}.{}", stage + 1, index), in, config_.channels[stage],
                stage > 0 && index == 0 ? 2 : 1);
      in = config_.channels[stage];
    }
  }
  const double bound = 1.0 / std::sqrt(static_cast<double>(in));
  head_weight_ = &store_.add(
      "fc.weight", {config_.classes, in}, ParameterGroup::weight,
      config_.torchvision_init ? Initialisation::uniform(bound) : Initialisation::kaiming_normal(in));
  head_bias_ =
      &store_.add("fc.bias", {config_.classes}, ParameterGroup::bias, Initialisation::uniform(bound));
}

Variable ResNet::conv(Tape& tape, const ConvBn& layer, const Variable& x) {
  return conv2d(tape, x, tape.parameter(*layer.weight), layer.stride, layer.padding);
}

Variable ResNet::conv_bn_act(Tape& tape, const ConvBn& layer, Epilogue epilogue, const Variable& x,
                             const Variable& shortcut, const Variable& alpha) {
  return batch_norm_act(tape, epilogue, conv(tape, layer, x), tape.parameter(*layer.gamma),
                        tape.parameter(*layer.beta), layer.running_mean->value, layer.running_var->value,
                        shortcut, alpha);
}

Variable ResNet::block(Tape& tape, const Block& block, const Variable& x) const {
  Variable shortcut = x;
  if (block.projection) {
    const ConvBn& layer = *block.projection;
    shortcut = batch_norm(tape, conv(tape, layer, x), tape.parameter(*layer.gamma),
                          tape.parameter(*layer.beta), layer.running_mean->value, layer.running_var->value);
  } else if (block.changes_shape) {
    shortcut = shortcut_a(tape, x, block.out_channels);
  }
  const Variable y = conv_bn_act(tape, block.first, Epilogue::relu, x);
  return conv_bn_act(tape, block.second, epilogue_of(config_.form), y, shortcut,
                     block.alpha ? tape.parameter(*block.alpha) : Variable{});
}

Variable ResNet::forward(Tape& tape, const Variable& x) {
  Variable y = conv_bn_act(tape, stem_, Epilogue::relu, x);
  if (config_.stem == Stem::imagenet) y = max_pool(tape, y, 3, 2, 1);
  for (const Block& b : blocks_) y = block(tape, b, y);
  return linear(tape, global_avg_pool(tape, y), tape.parameter(*head_weight_), tape.parameter(*head_bias_));
}

}  // namespace zeroth
