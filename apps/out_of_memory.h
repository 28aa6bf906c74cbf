#pragma once

#include <cstddef>
#include <string>

#include "apps/memory_use.h"
#include "apps/options.h"
#include "kernels/core/device.h"

namespace zeroth::app {

/// What a training that found no memory says: `what` failed, what the training takes by the dry run of
/// `zeroth info --memory`, what was free when it began, and the largest batch that fits.
std::string out_of_memory_text(const TrainOptions& options, const MemorySets& sets, Device device,
                               std::size_t free_bytes, const std::string& what);

}  // namespace zeroth::app
