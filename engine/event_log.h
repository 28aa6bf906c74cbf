#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "engine/run_log.h"

namespace zeroth {

/// The records of a run as TensorBoard reads them: an event file in the run folder for each process that
/// trained it. Such a file is a sequence of TFRecords (length, masked CRC-32C, bytes, masked CRC-32C), each
/// an Event message of tensorflow/core/util/event.proto. Scalars, by optimizer step: train/loss, train/error,
/// train/lr, train/images_per_second, and where they are known train/gradient_norm and train/loss_scale;
/// after each epoch validation/ or test/loss and /error, and alpha/NAME of every alpha. Quantities that are
/// not finite are left out.
class EventLog {
 public:
  /// Begins a file. Of older ones, events of steps after `steps_taken` and what a crash left half written are
  /// cut, so that no step is there twice; 0 begins anew. Throws Error(runtime) when the folder cannot be
  /// written.
  EventLog(const std::filesystem::path& folder, std::int64_t steps_taken);

  /// Append, whole records at once. Throw Error(runtime), naming the file, when the disk is full.
  void write(const StepRecord& record);
  void write(const EpochRecord& record);

 private:
  using Scalars = std::vector<std::pair<std::string, double>>;
  void write_scalars(std::int64_t step, const Scalars& scalars);
  std::filesystem::path path_;
};

/// The event files of a folder, the oldest first.
std::vector<std::filesystem::path> event_files(const std::filesystem::path& folder);
bool is_event_file(const std::filesystem::path& name);

/// The bytes as one TFRecord.
std::string tf_record(const std::string& bytes);

}  // namespace zeroth
