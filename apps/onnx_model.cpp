#include "apps/onnx_model.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <limits>

#include "apps/version.h"
#include "engine/functional.h"
#include "engine/protobuf.h"
#include "kernels/core/error.h"

namespace zeroth::app {

namespace {

static_assert(std::endian::native == std::endian::little, "raw_data of an ONNX tensor is little endian");

// Fields of onnx.proto, by message.
namespace model {
constexpr int kIrVersion = 1, kProducerName = 2, kProducerVersion = 3, kGraph = 7, kOpsetImport = 8,
              kMetadata = 14;
}
namespace opset {
constexpr int kVersion = 2;
}
namespace property {
constexpr int kKey = 1, kValue = 2;
}
namespace graph {
constexpr int kNode = 1, kName = 2, kInitializer = 5, kInput = 11, kOutput = 12;
}
namespace node {
constexpr int kInput = 1, kOutput = 2, kName = 3, kOpType = 4, kAttribute = 5;
}
namespace attribute {
constexpr int kName = 1, kReal = 2, kInteger = 3, kIntegers = 8, kType = 20;
constexpr int kTypeReal = 1, kTypeInteger = 2, kTypeIntegers = 7;
}  // namespace attribute
namespace tensor {
constexpr int kDims = 1, kDataType = 2, kName = 8, kRawData = 9;
constexpr int kFloat = 1, kInt64 = 7;
}  // namespace tensor
namespace value {
constexpr int kName = 1, kType = 2, kTensorType = 1, kElementType = 1, kShape = 2, kDim = 1, kDimValue = 1,
              kDimParam = 2;
}

constexpr std::int64_t kIr = 7, kOpset = 13;

using Integers = std::vector<std::int64_t>;

ProtoMessage integer_attribute(const char* name, std::int64_t number) {
  return ProtoMessage()
      .text(attribute::kName, name)
      .integer(attribute::kInteger, number)
      .integer(attribute::kType, attribute::kTypeInteger);
}

ProtoMessage integers_attribute(const char* name, const Integers& numbers) {
  ProtoMessage message;
  message.text(attribute::kName, name);
  for (const std::int64_t number : numbers) message.integer(attribute::kIntegers, number);
  return message.integer(attribute::kType, attribute::kTypeIntegers);
}

ProtoMessage real_attribute(const char* name, double number) {
  return ProtoMessage()
      .text(attribute::kName, name)
      .real32(attribute::kReal, static_cast<float>(number))
      .integer(attribute::kType, attribute::kTypeReal);
}

ProtoMessage tensor_message(const std::string& name, const Integers& dims, int type, const void* data,
                            std::size_t bytes) {
  ProtoMessage message;
  for (const std::int64_t dim : dims) message.integer(tensor::kDims, dim);
  return message.integer(tensor::kDataType, type)
      .text(tensor::kName, name)
      .text(tensor::kRawData, std::string_view(static_cast<const char*>(data), bytes));
}

/// A tensor of f32 whose first extent, the batch, is free.
ProtoMessage value_info(const std::string& name, const Integers& behind_batch) {
  ProtoMessage shape;
  shape.message(value::kDim, ProtoMessage().text(value::kDimParam, "N"));
  for (const std::int64_t dim : behind_batch)
    shape.message(value::kDim, ProtoMessage().integer(value::kDimValue, dim));
  const ProtoMessage type =
      ProtoMessage().integer(value::kElementType, tensor::kFloat).message(value::kShape, shape);
  return ProtoMessage()
      .text(value::kName, name)
      .message(value::kType, ProtoMessage().message(value::kTensorType, type));
}

/// Builds the graph of a ResNet as models/resnet.cpp runs it. Functions take names of values and return the
/// name of the result.
class GraphBuilder {
 public:
  GraphBuilder(const ResNetConfig& config, const std::vector<NamedArray>& weights) : config_(config) {
    for (const NamedArray& array : weights) {
      Integers dims;
      for (int axis = 0; axis < array.shape.rank(); ++axis) dims.push_back(array.shape[axis]);
      shapes_[array.name] = dims;
      floats(array.name, dims, array.values);
    }
  }

  ProtoMessage build(const Normalisation& normalisation) {
    const Integers per_channel{1, config_.picture_channels, 1, 1};
    floats("normalisation.mean", per_channel, normalisation.mean);
    floats("normalisation.stddev", per_channel, normalisation.stddev);
    std::string x = add("Sub", "normalisation.centred", {"pictures", "normalisation.mean"});
    x = add("Div", "normalisation.result", {x, "normalisation.stddev"});
    const bool imagenet = config_.stem == Stem::imagenet;
    x = relu(conv_bn("conv1", "bn1", x, imagenet ? 2 : 1));
    if (imagenet)
      x = add("MaxPool", "maxpool", {x},
              {integers_attribute("kernel_shape", {3, 3}), integers_attribute("strides", {2, 2}),
               integers_attribute("pads", {1, 1, 1, 1})});
    std::int64_t in = config_.channels.front();
    for (std::size_t stage = 0; stage < config_.blocks.size(); ++stage)
      for (int index = 0; index < config_.blocks[stage]; ++index) {
        const std::int64_t out = config_.channels[stage];
        x = block(fmt::format("layer{}.{}", stage + 1, index), x, in, out, stage > 0 && index == 0 ? 2 : 1);
        in = out;
      }
    x = add("GlobalAveragePool", "avgpool", {x});
    x = add("Flatten", "flatten", {x}, {integer_attribute("axis", 1)});
    add("Gemm", "logits", {x, "fc.weight", "fc.bias"}, {integer_attribute("transB", 1)});
    graph_.text(graph::kName, config_.name)
        .message(graph::kInput,
                 value_info("pictures", {config_.picture_channels, config_.height, config_.width}))
        .message(graph::kOutput, value_info("logits", {config_.classes}));
    return std::move(graph_);
  }

 private:
  void floats(const std::string& name, const Integers& dims, const std::vector<float>& values) {
    graph_.message(graph::kInitializer,
                   tensor_message(name, dims, tensor::kFloat, values.data(), values.size() * sizeof(float)));
  }

  std::string integers(const std::string& name, const Integers& values) {
    graph_.message(graph::kInitializer,
                   tensor_message(name, {static_cast<std::int64_t>(values.size())}, tensor::kInt64,
                                  values.data(), values.size() * sizeof(std::int64_t)));
    return name;
  }

  std::string add(const char* operation, const std::string& result, const std::vector<std::string>& inputs,
                  const std::vector<ProtoMessage>& attributes = {}) {
    ProtoMessage message;
    for (const std::string& input : inputs) message.text(node::kInput, input);
    message.text(node::kOutput, result).text(node::kName, result).text(node::kOpType, operation);
    for (const ProtoMessage& one : attributes) message.message(node::kAttribute, one);
    graph_.message(graph::kNode, message);
    return result;
  }

  std::string relu(const std::string& x) { return add("Relu", x + ".relu", {x}); }

  std::string conv_bn(const std::string& conv, const std::string& bn, const std::string& x,
                      std::int64_t stride) {
    const std::int64_t window = shapes_.at(conv + ".weight")[2], padding = window / 2;
    const std::string y = add("Conv", conv, {x, conv + ".weight"},
                              {integers_attribute("kernel_shape", {window, window}),
                               integers_attribute("strides", {stride, stride}),
                               integers_attribute("pads", {padding, padding, padding, padding})});
    return add("BatchNormalization", bn,
               {y, bn + ".weight", bn + ".bias", bn + ".running_mean", bn + ".running_var"},
               {real_attribute("epsilon", BatchNormOptions().eps)});
  }

  /// Every second pixel, and channels of zeros on either side.
  std::string shortcut_a(const std::string& name, const std::string& x, std::int64_t in, std::int64_t out) {
    constexpr std::int64_t kEnd = std::numeric_limits<std::int64_t>::max();
    const std::int64_t before = (out - in) / 2, after = out - in - before;
    const std::string y =
        add("Slice", name + ".shortcut.pixels",
            {x, integers(name + ".shortcut.starts", {0, 0}), integers(name + ".shortcut.ends", {kEnd, kEnd}),
             integers(name + ".shortcut.axes", {2, 3}), integers(name + ".shortcut.steps", {2, 2})});
    return add("Pad", name + ".shortcut",
               {y, integers(name + ".shortcut.pads", {0, before, 0, 0, 0, after, 0, 0})});
  }

  std::string block(const std::string& name, const std::string& x, std::int64_t in, std::int64_t out,
                    std::int64_t stride) {
    std::string shortcut = x;
    if (stride != 1 || in != out)
      shortcut = config_.shortcut == ShortcutKind::b
                     ? conv_bn(name + ".downsample.0", name + ".downsample.1", x, stride)
                     : shortcut_a(name, x, in, out);
    const std::string first = relu(conv_bn(name + ".conv1", name + ".bn1", x, stride));
    std::string f = conv_bn(name + ".conv2", name + ".bn2", first, 1);
    if (config_.form == ResidualForm::authors) f = relu(f);
    if (config_.form != ResidualForm::plain) f = add("Mul", name + ".scaled", {f, name + ".alpha"});
    const std::string y = add("Add", name + ".sum", {f, shortcut});
    return config_.form == ResidualForm::authors ? y : relu(y);
  }

  const ResNetConfig& config_;
  std::map<std::string, Integers> shapes_;
  ProtoMessage graph_;
};

}  // namespace

std::string onnx_model(const ResNetConfig& config, const std::vector<NamedArray>& weights,
                       const Normalisation& normalisation,
                       const std::map<std::string, std::string>& properties) {
  ProtoMessage message;
  message.integer(model::kIrVersion, kIr)
      .text(model::kProducerName, "zeroth")
      .text(model::kProducerVersion, ZEROTH_VERSION)
      .message(model::kGraph, GraphBuilder(config, weights).build(normalisation))
      .message(model::kOpsetImport, ProtoMessage().integer(opset::kVersion, kOpset));
  for (const auto& [key, text] : properties)
    message.message(model::kMetadata, ProtoMessage().text(property::kKey, key).text(property::kValue, text));
  if (message.bytes().size() >= std::numeric_limits<std::int32_t>::max())
    fail(ErrorKind::runtime, "the model takes 2 GB or more, which an ONNX file cannot hold in itself");
  return message.bytes();
}

}  // namespace zeroth::app
