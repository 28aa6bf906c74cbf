#pragma once

#include "apps/options.h"
#include "engine/parameters.h"

namespace zeroth::app {

/// What rank `rank` of `ranks` is to hold of a network's parameters, which are materialised with it. Throws
/// Error(usage) where that is more than --memory-budget.
Residency choose_residency(const TrainOptions& options, ParameterStore& store, int rank, int ranks);

}  // namespace zeroth::app
