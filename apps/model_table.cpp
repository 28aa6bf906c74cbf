#include "apps/model_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "apps/command_line.h"

namespace zeroth::app {

namespace {

/// 1,234,567
std::string grouped(std::int64_t number) {
  std::string digits = std::to_string(number);
  for (int at = static_cast<int>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<std::size_t>(at), 1, ',');
  return digits;
}

std::string megabytes(std::int64_t bytes) {
  return fmt::format("{:.2f} MB", static_cast<double>(bytes) / 1e6);
}

std::string kilobytes(std::int64_t bytes) {
  return grouped((bytes + 500) / 1000);
}

/// "32x32x16"
std::string extents(const Shape& shape) {
  std::string text;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (axis > 0) text += 'x';
    text += std::to_string(shape[axis]);
  }
  return text;
}

constexpr std::int64_t kFloatBytes = 4;

}  // namespace

TrainingMemory training_memory(const Model& network, std::int64_t batch_size, int moments) {
  TrainingMemory memory;
  memory.weights = memory.gradients = network.store().count() * kFloatBytes;
  memory.moments = memory.weights * moments;
  for (const LayerInfo& layer : network.layers())
    memory.activations += layer.saved_elements * batch_size * kFloatBytes;
  return memory;
}

std::string model_table(const Model& network, std::int64_t batch_size, int moments) {
  // name, kind, output, parameters, multiply-adds, bytes that backward reads
  using Cells = std::array<std::string, 6>;
  std::vector<Cells> rows{{"layer", "kind", "output", "params", "MACs", "saved KB"}};
  std::int64_t saved = 0;
  for (const LayerInfo& layer : network.layers()) {
    const std::int64_t bytes = layer.saved_elements * kFloatBytes;
    saved += bytes;
    rows.push_back({layer.name, layer.kind, extents(layer.output), grouped(layer.parameters),
                    grouped(layer.multiply_adds), kilobytes(bytes)});
  }
  rows.push_back({"total", "", "", grouped(network.store().count()), grouped(network.multiply_adds()),
                  kilobytes(saved)});
  std::array<std::size_t, 6> width{};
  for (const Cells& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) width[i] = std::max(width[i], row[i].size());
  std::string text;
  for (const Cells& row : rows)
    text += fmt::format("{:<{}}  {:<{}}  {:<{}}  {:>{}} {:>{}} {:>{}}\n", row[0], width[0], row[1], width[1],
                        row[2], width[2], row[3], width[3], row[4], width[4], row[5], width[5]);
  const TrainingMemory memory = training_memory(network, batch_size, moments);
  return text + fmt::format(
                    "\noutput (height x width x channels), MACs and what backward needs saved are for\n"
                    "one picture; a training with batches of {} takes {} in f32:\n"
                    "weights {}, gradients {}, moments {}, saved {}\n",
                    batch_size, megabytes(memory.total()), megabytes(memory.weights),
                    megabytes(memory.gradients), megabytes(memory.moments), megabytes(memory.activations));
}

std::string model_json(const Model& network, std::int64_t batch_size, int moments) {
  nlohmann::ordered_json result;
  result["model"] = network.name();
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
  return json_line(result);
}

}  // namespace zeroth::app
