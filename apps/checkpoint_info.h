#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/plateau.h"
#include "engine/safetensors.h"

namespace zeroth::app {

/// What a checkpoint says of its training, besides the tensors.
struct CheckpointInfo {
  std::int64_t step = 0;
  std::string config;  ///< as checkpoint_config() writes it
  std::string data;    ///< name of the data set
  std::uint64_t data_hash = 0;
  std::int64_t classes = 0;
  std::vector<std::string> class_names;  ///< of every class, or none: older checkpoints have no names
  std::int64_t height = 0, width = 0, channels = 0;  ///< of a picture
  std::optional<double> best_accuracy;
  std::optional<std::int64_t> best_step;  ///< when it was reached
  /// Sums over the pictures of the epoch under way, up to the last regular line of the log; what came after
  /// it is the trainer's, in its tensors.
  double epoch_loss = 0.0;
  std::int64_t epoch_correct = 0, epoch_rows = 0;
  bool evaluation_due = false;  ///< all steps of an epoch are taken, and its evaluation was not finished
  PlateauState plateau;
  EarlyStopState early_stop;

  SafetensorsMetadata metadata() const;
};

/// Whether the file says that this program wrote it.
bool is_checkpoint(const SafetensorsFile& file);

/// Throws Error(data) naming the file where it is no checkpoint of this program, where its contents do not
/// have the checksum they were written with, and, with the key, where a value cannot be.
CheckpointInfo checkpoint_info(const SafetensorsFile& file);
/// The same by a checkpoint's metadata alone, but for the checksum. `name` is what messages call it.
CheckpointInfo checkpoint_info(const SafetensorsMetadata& metadata, const std::string& name);

}  // namespace zeroth::app
