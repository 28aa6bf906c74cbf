#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "engine/functional.h"
#include "models/model.h"

namespace zeroth {

/// What a block's shortcut does where the shape changes.
enum class ShortcutKind : std::uint8_t {
  a,  ///< every second pixel, zero-padded channels: no parameters (He et al., 2015, option A)
  b,  ///< 1x1 convolution of stride 2 and batch norm (option B)
};

enum class Stem : std::uint8_t {
  cifar,     ///< 3x3 convolution, stride 1
  imagenet,  ///< 7x7 convolution, stride 2, then 3x3 max pooling, stride 2
};

/// A residual network of basic blocks (two 3x3 convolutions each).
struct ResNetConfig {
  std::string name;  ///< "resnet20", "rezero-resnet56", "resnet18-cifar", ...
  Stem stem = Stem::cifar;
  std::vector<int> blocks, channels;  ///< of each stage; every stage but the first begins with stride 2
  ResidualForm form = ResidualForm::plain;
  ShortcutKind shortcut = ShortcutKind::b;
  double alpha_init = 0.0;
  std::int64_t classes = 10, height = 32, width = 32, picture_channels = 3;
  /// Filters from the fan out and a uniform head, as torchvision does; else from the fan in, head included.
  bool torchvision_init = false;
};

/// A model's configuration by name: resnetN and rezero-resnetN for every depth N = 6n + 2 (16, 32 and 64
/// channels), resnet18 (ImageNet stem, 64 to 512 channels), resnet18-cifar, and rezero- before either.
/// `rezero-` stands for the form post. Throws Error(usage), naming the models there are.
ResNetConfig resnet_config(const std::string& name);

class ResNet final : public Model {
 public:
  /// Declares the parameters; store().materialise() makes them.
  explicit ResNet(ResNetConfig config);

  Variable forward(Tape& tape, const Variable& x) override;

  const ResNetConfig& config() const { return config_; }
  const std::string& name() const override { return config_.name; }
  std::vector<LayerInfo> layers() const override;

 private:
  /// A convolution without bias and the batch norm behind it.
  struct ConvBn {
    Parameter *weight, *gamma, *beta;
    StateTensor *running_mean, *running_var;
    std::int64_t stride, padding;
  };
  struct Block {
    std::string name;
    ConvBn first, second;
    bool changes_shape;
    std::optional<ConvBn> projection;  // shortcut B where the shape changes
    Parameter* alpha;                  // null for plain
    std::int64_t out_channels;
  };

  ConvBn add_conv_bn(const std::string& conv, const std::string& bn, std::int64_t out, std::int64_t in,
                     std::int64_t window, std::int64_t stride);
  void add_block(const std::string& name, std::int64_t in, std::int64_t out, std::int64_t stride);
  static Variable conv(Tape& tape, const ConvBn& layer, const Variable& x);
  static Variable conv_bn_act(Tape& tape, const ConvBn& layer, Epilogue epilogue, const Variable& x,
                              const Variable& shortcut = {}, const Variable& alpha = {});
  Variable block(Tape& tape, const Block& block, const Variable& x) const;
  void describe_conv_bn(const ConvBn& layer, Shape& at, bool relu_after, std::vector<LayerInfo>& table) const;
  void describe_block(const Block& block, Shape& at, std::vector<LayerInfo>& table) const;

  ResNetConfig config_;
  ConvBn stem_{};
  std::deque<Block> blocks_;
  Parameter *head_weight_ = nullptr, *head_bias_ = nullptr;
};

}  // namespace zeroth
