#pragma once

#include <filesystem>
#include <span>

#include "engine/safetensors.h"
#include "engine/trainer.h"

namespace zeroth {

/// Copies the tensors to the host and writes them as one safetensors file. Errors as write_safetensors().
void save_tensors(Context& context, const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                  const SafetensorsMetadata& metadata);

/// Fills the tensors from a file. Each must be in it, with the same shape and dtype; what else is in the file
/// is left alone, so a model's weights load from a checkpoint with optimizer state. Throws Error(data) naming
/// file and tensor; nothing has been filled then.
void fill_tensors(Context& context, const SafetensorsFile& file, std::span<const NamedTensor> tensors);

/// The parameters and state of a network, under the names a checkpoint gives them: what inference needs.
std::vector<NamedTensor> weights_of(const Network& network);

}  // namespace zeroth
