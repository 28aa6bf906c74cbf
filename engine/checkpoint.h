#pragma once

#include <filesystem>
#include <span>

#include "engine/safetensors.h"
#include "engine/trainer.h"

namespace zeroth {

/// Copies the tensors to the host and writes them as one safetensors file, with their checksum in the
/// metadata
/// ("crc32"). Throws Error(diverged), naming the tensor, where a value is not finite: the old file stays.
/// Other errors as write_safetensors().
void save_tensors(Context& context, const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                  const SafetensorsMetadata& metadata);
/// The same of a training, whole, whatever its ranks share: all ranks call it, and rank 0 writes. Throws
/// Error(diverged) on all ranks alike.
void save_training(Trainer& trainer, const std::filesystem::path& path, const SafetensorsMetadata& metadata);

/// Fills a training from what save_training() or save_tensors() wrote after `steps` steps, at any number of
/// ranks and with whatever they share. Throws as fill_tensors() does.
void load_training(Trainer& trainer, const SafetensorsFile& file, std::int64_t steps);

/// Throws Error(data), naming the file, unless it has the checksum that save_tensors() gave it: one flipped
/// bit in a tensor, a name, a shape or a metadata value is found. "crc32" is eight hexadecimal digits: the
/// CRC-32 of zlib over, in order of keys, every other metadata entry as KEY \0 VALUE \0, then, in order of
/// names, every tensor as NAME \0 DTYPE \0 SHAPE \0 (such as "f32" and "(3, 2)") and its bytes.
void check_contents(const SafetensorsFile& file);

/// Fills the tensors from a file. Each must be in it, with the same shape and dtype; what else is in the file
/// is left alone, so a model's weights load from a checkpoint with optimizer state. Throws Error(data) naming
/// file and tensor; nothing has been filled then.
void fill_tensors(Context& context, const SafetensorsFile& file, std::span<const NamedTensor> tensors);

/// Fills the parameters and state of a network, what inference needs, and their working copies. Throws as
/// fill_tensors() does.
void load_weights(Context& context, const SafetensorsFile& file, Network& network);

}  // namespace zeroth
