#include "models/resnet.h"

namespace zeroth {

namespace {

std::string without_suffix(const std::string& name, const std::string& suffix) {
  return name.substr(0, name.size() - suffix.size());
}

std::int64_t halved(std::int64_t extent) {
  return (extent + 1) / 2;
}

}  // namespace

/// Appends a convolution and its batch norm, and moves `at`, the shape of one picture's activation, behind
/// them.
void ResNet::describe_conv_bn(const ConvBn& layer, Shape& at, bool relu_after,
                              std::vector<LayerInfo>& table) const {
  const Shape& filter = layer.weight->shape;
  const std::int64_t read = at.elements();
  at = {(at[0] + 2 * layer.padding - filter[1]) / layer.stride + 1,
        (at[1] + 2 * layer.padding - filter[2]) / layer.stride + 1, filter[0]};
  table.push_back({without_suffix(layer.weight->name, ".weight"), "conv2d", at, filter.elements(),
                   at[0] * at[1] * filter.elements(), read});
  table.push_back({without_suffix(layer.gamma->name, ".weight"),
                   relu_after ? "batch_norm, relu" : "batch_norm", at, 2 * filter[0], 0, at.elements()});
}

void ResNet::describe_block(const Block& block, Shape& at, std::vector<LayerInfo>& table) const {
  Shape shortcut = at;
  describe_conv_bn(block.first, at, true, table);
  describe_conv_bn(block.second, at, false, table);
  if (block.projection) {
    describe_conv_bn(*block.projection, shortcut, false, table);
    table[table.size() - 2].saved_elements =
        0;  // the block's input is already counted with its first convolution
  } else if (block.changes_shape) {
    table.push_back({block.name + ".shortcut", "shortcut_a", at, 0, 0, 0});
  }
  const bool plain = config_.form == ResidualForm::plain;
  // Fused with the second batch norm: what its backward reads is already counted.
  table.push_back({block.name, std::string("residual, ") + name_of(config_.form), at, plain ? 0 : 1, 0, 0});
}

std::vector<LayerInfo> ResNet::layers() const {
  std::vector<LayerInfo> table;
  Shape at{config_.height, config_.width, config_.picture_channels};
  describe_conv_bn(stem_, at, true, table);
  if (config_.stem == Stem::imagenet) {
    const std::int64_t read = at.elements();
    at = {halved(at[0]), halved(at[1]), at[2]};
    table.push_back({"maxpool", "max_pool", at, 0, 0, read});
  }
  for (const Block& b : blocks_) describe_block(b, at, table);
  const std::int64_t last = at.elements();
  at = {at[2]};
  table.push_back({"avgpool", "avg_pool", at, 0, 0, last});
  table.push_back({"fc",
                   "linear",
                   {config_.classes},
                   head_weight_->shape.elements() + config_.classes,
                   head_weight_->shape.elements(),
                   at.elements()});
  return table;
}

}  // namespace zeroth
