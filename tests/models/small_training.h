#pragma once

#include <cstdint>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "engine/trainer.h"
#include "kernels/core/philox.h"
#include "models/resnet.h"
#include "tests/catch.h"

namespace zeroth {

inline PictureSet random_pictures(Context& context, std::int64_t count, std::int64_t side) {
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(count * side * side * 3));
  for (std::size_t i = 0; i < pixels.size(); ++i)
    pixels[i] = static_cast<std::uint8_t>(philox(11, 0, i, RandomUse::test).word[0] >> 24);
  std::vector<std::int32_t> labels(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int32_t>(i % 10);
  return {Tensor::from_host<std::uint8_t>(context, {count, side, side, 3}, pixels),
          Tensor::from_host<std::int32_t>(context, {count}, labels), 10};
}

inline TrainerConfig small_config() {
  TrainerConfig config;
  config.batch_size = 16;
  config.rates.fill({0.05, 5e-4});
  config.mean = {0.5, 0.5, 0.5, 0.0};
  config.std = {0.25, 0.25, 0.25, 1.0};
  config.seed = 3;
  return config;
}

/// A network of depth 8 on 8 x 8 pictures, and everything that trains it.
struct SmallTraining {
  Context context;
  ResNet network;
  Trainer trainer;

  explicit SmallTraining(const TrainerConfig& config, std::int64_t pictures = 64, DType working = DType::f32,
                         DeviceKind device = DeviceKind::cpu, const char* model = "rezero-resnet8")
      : context({device, 0}),
        network(small_network(model)),
        trainer(context, materialised(network, context, working), random_pictures(context, pictures, 8),
                config, [pictures](std::uint32_t epoch) {
                  std::vector<std::int32_t> order(static_cast<std::size_t>(pictures));
                  std::iota(order.begin(), order.end(), 0);
                  std::rotate(order.begin(), order.begin() + epoch % 5, order.end());
                  return order;
                }) {}

  static ResNetConfig small_network(const char* model = "rezero-resnet8") {
    ResNetConfig config = resnet_config(model);
    config.height = config.width = 8;
    return config;
  }
  static ResNet& materialised(ResNet& network, Context& context, DType working) {
    network.store().materialise(context, 5, working);
    return network;
  }

  using Values = std::vector<std::pair<std::string, std::vector<double>>>;
  /// All that a checkpoint would hold.
  Values values() const {
    Values all;
    for (const NamedTensor& tensor : trainer.tensors()) {
      const auto add = [&](const auto& numbers) {
        all.emplace_back(tensor.name, std::vector<double>(numbers.begin(), numbers.end()));
      };
      switch (tensor.value.dtype()) {
        case DType::i32:
          add(tensor.value.to_host<std::int32_t>(context));
          break;
        case DType::f64:
          add(tensor.value.to_host<double>(context));
          break;
        default:
          add(tensor.value.to_host<float>(context));
      }
    }
    return all;
  }
  /// Goes on after `steps` steps from the state of another training.
  void continue_from(const SmallTraining& other, std::int64_t steps) {
    const std::vector<NamedTensor> from = other.trainer.tensors(), to = trainer.tensors();
    REQUIRE(from.size() == to.size());
    for (std::size_t i = 0; i < from.size(); ++i) {
      REQUIRE(from[i].name == to[i].name);
      std::vector<std::byte> bytes(from[i].value.bytes());
      from[i].value.copy_to(other.context, bytes);
      to[i].value.copy_from(context, bytes);
    }
    trainer.resume_at(steps);
  }
};

}  // namespace zeroth
