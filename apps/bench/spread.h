#pragma once

#include <vector>

namespace zeroth::app {

/// What repeated measurements of one thing say. Quartiles interpolate between the two nearest measurements.
struct Spread {
  double median = 0.0, low = 0.0, high = 0.0;  ///< low, high: first and third quartile
};

/// Throws Error(usage) without a measurement.
Spread spread_of(std::vector<double> values);

}  // namespace zeroth::app
