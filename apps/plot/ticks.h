#pragma once

#include <string>
#include <vector>

namespace zeroth::plot {

struct Tick {
  double value = 0.0;
  std::string label;  ///< empty: a line of the grid without words
};

/// Multiples of 1, 2 or 5 times a power of ten within [low, high], about as many as wanted; low < high.
std::vector<Tick> linear_ticks(double low, double high, int wanted);

/// The smallest interval between such multiples that holds [low, high]; widened where the two are equal.
struct Interval {
  double low = 0.0, high = 1.0;
};
Interval nice_interval(double low, double high, int wanted);

/// Powers of ten within [low, high], labelled, as few of them as fit `most`; on a short axis their doubles
/// and fives as well. 0 < low < high.
std::vector<Tick> logarithmic_ticks(double low, double high, int most);

}  // namespace zeroth::plot
