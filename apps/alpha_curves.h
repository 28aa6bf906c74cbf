#pragma once

#include <vector>

#include "apps/plot/chart.h"
#include "engine/read_run_log.h"

namespace zeroth::app {

/// A run's alphas over its epochs, a curve for each block, dark at the pictures' end of the network and light
/// at the logits' end; some of them are in the legend. Empty where the run has none.
std::vector<plot::Series> alpha_curves(const RunRecords& records);

/// The mean of their magnitudes, NaN where the record has none.
double mean_alpha(const StepRecord& record);

}  // namespace zeroth::app
