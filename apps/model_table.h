#pragma once

#include <cstdint>
#include <string>

#include "models/model.h"

namespace zeroth::app {

/// Bytes a training of this network needs on its device, f32 throughout.
struct TrainingMemory {
  std::int64_t weights = 0, gradients = 0, moments = 0;
  std::int64_t activations = 0;  ///< what backward reads, for the whole batch
  std::int64_t total() const { return weights + gradients + moments + activations; }
};

/// `moments`: buffers of the optimizer, 1 for sgd, 2 for adam.
TrainingMemory training_memory(const Model& network, std::int64_t batch_size, int moments);

/// The layer table for people, and as JSON.
std::string model_table(const Model& network, std::int64_t batch_size, int moments);
std::string model_json(const Model& network, std::int64_t batch_size, int moments);

}  // namespace zeroth::app
