#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/network.h"
#include "engine/safetensors.h"

namespace zeroth::app {

// Weights as PyTorch keeps them. Names are those of torchvision's resnet18, which zeroth uses for every depth
// (conv1.weight, bn1.running_mean, layer1.0.conv1.weight, layer2.0.downsample.0.weight, fc.bias, and
// layerS.B.alpha for ReZero). Filters are KCRS, where zeroth has KRSC; nothing else differs.

/// A tensor of a network in host memory, f32.
struct NamedArray {
  std::string name;
  Shape shape;
  std::vector<float> values;
};

/// All parameters and state of a network, filters as (K, C, R, S).
std::vector<NamedArray> pytorch_weights(Context& context, const ParameterStore& store);

/// As a safetensors file. Throws as write_safetensors().
void write_arrays(const std::filesystem::path& path, const std::vector<NamedArray>& arrays,
                  const SafetensorsMetadata& metadata);

/// Whether the filters of the file are shaped as PyTorch's are and not as zeroth's.
bool has_pytorch_filters(const SafetensorsFile& file, const ParameterStore& store);

/// load_weights() from a file with PyTorch's filters; what else the file holds (num_batches_tracked) is left
/// alone. Throws Error(data) naming file and tensor; nothing has been filled then.
void load_pytorch_weights(Context& context, const SafetensorsFile& file, Network& network);

}  // namespace zeroth::app
