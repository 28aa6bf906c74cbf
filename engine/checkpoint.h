#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "engine/safetensors.h"
#include "engine/trainer.h"

namespace zeroth {

/// Copies the tensors to the host and writes them as one safetensors file, with checksums in the metadata
/// (see Checksums::each). Throws Error(diverged), naming the tensor, where a value is not finite: the old
/// file stays. Other errors as write_safetensors().
void save_tensors(Context& context, const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                  const SafetensorsMetadata& metadata);
/// The same of a training, whole, whatever its ranks share: all ranks call it, and rank 0 writes. Throws
/// Error(diverged) on all ranks alike.
void save_training(Trainer& trainer, const std::filesystem::path& path, const SafetensorsMetadata& metadata);

/// Fills a training from what save_training() or save_tensors() wrote after `steps` steps, at any number of
/// ranks and with whatever they share. Throws as fill_tensors() does.
void load_training(Trainer& trainer, const SafetensorsFile& file, std::int64_t steps);

/// How a file is sealed. A checksum is eight hexadecimal digits, the CRC-32 of zlib.
enum class Checksums : std::uint8_t {
  /// "crc32:NAME" is that of a tensor's bytes, "crc32" that of the header: over, in order of keys, every
  /// other metadata entry as KEY \0 VALUE \0, then, in order of names, every tensor as NAME \0 DTYPE \0
  /// SHAPE \0 (such as "f32" and "(3, 2)").
  each,
  /// "crc32" is over the same, with every tensor's bytes behind its shape. Older files have it.
  whole
};

/// Throws Error(data), naming the file and, where it is one, the tensor, unless the file has the checksums
/// that it was written with: one flipped bit in a tensor, a name, a shape or a metadata value is found.
void check_contents(const SafetensorsFile& file, Checksums checksums = Checksums::each);

/// Fills the tensors from a file. Each must be in it, with the same shape and dtype; what else is in the file
/// is left alone, so a model's weights load from a checkpoint with optimizer state. Throws Error(data) naming
/// file and tensor; nothing has been filled then.
void fill_tensors(Context& context, const SafetensorsFile& file, std::span<const NamedTensor> tensors);

/// Fills the parameters and state of a network, what inference needs, and their working copies, from the
/// tensors of these names behind `prefix`. Throws as fill_tensors() does.
void load_weights(Context& context, const SafetensorsFile& file, Network& network,
                  const std::string& prefix = "");

/// The prefix of the averaged weights that a checkpoint of this network holds: those of the EMA, else
/// Lookahead's slow ones; empty where it holds none.
std::string averages_in(const SafetensorsFile& file, const Network& network);

}  // namespace zeroth
