#include "apps/model_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace zeroth::app {

namespace {

/// 1,234,567
std::string grouped(std::int64_t number) {
  std::string digits = std::to_string(number);
  for (int at = static_cast<int>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<std::size_t>(at), ",");
  return digits;
}

std::string megabytes(std::int64_t bytes) {
  return fmt::format("{:.2f} MB", static_cast<double>(bytes) / 1e6);
}

constexpr std::int64_t kFloatBytes = 4;

}  // namespace

TrainingMemory training_memory(const ResNet& network, std::int64_t batch_size, int moments) {
  TrainingMemory memory;
  memory.weights = memory.gradients = network.store().count() * kFloatBytes;
  memory.moments = memory.weights * moments;
  for (const LayerInfo& layer : network.layers())
    memory.activations += layer.saved_elements * batch_size * kFloatBytes;
  return memory;
}

std::string model_table(const ResNet& network, std::int64_t batch_size, int moments) {
  const std::vector<LayerInfo> layers = network.layers();
  std::size_t name_width = 5, kind_width = 4;
  for (const LayerInfo& layer : layers) {
    name_width = std::max(name_width, layer.name.size());
    kind_width = std::max(kind_width, layer.kind.size());
  }
  const auto line = [&](const std::string& name, const std::string& kind, const std::string& output,
                        const std::string& parameters, const std::string& macs, const std::string& saved) {
    return fmt::format("{:<{}}  {:<{}}  {:<13}  {:>10}  {:>13}  {:>11}\n", name, name_width, kind, kind_width,
                       output, parameters, macs, saved);
  };
  std::string text = line("layer", "kind", "output", "parameters", "MACs", "saved bytes");
  std::int64_t saved = 0;
  for (const LayerInfo& layer : layers) {
    const std::int64_t bytes = layer.saved_elements * kFloatBytes;
    saved += bytes;
    text += line(layer.name, layer.kind, layer.output.to_string(), grouped(layer.parameters),
                 grouped(layer.multiply_adds), grouped(bytes));
  }
  text += line("total", "", "", grouped(network.store().count()), grouped(network.multiply_adds()),
               grouped(saved));
  const TrainingMemory memory = training_memory(network, batch_size, moments);
  text += fmt::format(
      "\noutputs (height, width, channels), MACs and saved bytes are those of one picture\n"
      "training, batch {}, f32: {} (weights {}, gradients {}, moments {}, saved activations {})\n",
      batch_size, megabytes(memory.total()), megabytes(memory.weights), megabytes(memory.gradients),
      megabytes(memory.moments), megabytes(memory.activations));
  return text;
}

std::string model_json(const ResNet& network, std::int64_t batch_size, int moments) {
  nlohmann::ordered_json result;
  result["model"] = network.config().name;
  result["parameters"] = network.store().count();
  result["multiply_adds"] = network.multiply_adds();
  const TrainingMemory memory = training_memory(network, batch_size, moments);
  result["batch_size"] = batch_size;
  result["memory"] = {{"weights", memory.weights},
                      {"gradients", memory.gradients},
                      {"moments", memory.moments},
                      {"activations", memory.activations}};
  for (const LayerInfo& layer : network.layers()) {
    std::vector<std::int64_t> output;
    for (int axis = 0; axis < layer.output.rank(); ++axis) output.push_back(layer.output[axis]);
    result["layers"].push_back({{"name", layer.name},
                                {"kind", layer.kind},
                                {"output", output},
                                {"parameters", layer.parameters},
                                {"multiply_adds", layer.multiply_adds},
                                {"saved_bytes", layer.saved_elements * kFloatBytes}});
  }
  return result.dump() + "\n";
}

}  // namespace zeroth::app
