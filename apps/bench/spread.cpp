#include "apps/bench/spread.h"

#include <algorithm>
#include <cmath>

#include "kernels/core/error.h"

namespace zeroth::app {

Spread spread_of(std::vector<double> values) {
  require(!values.empty(), "a spread needs a measurement");
  std::sort(values.begin(), values.end());
  const auto quantile = [&](double share) {
    const double place = share * static_cast<double>(values.size() - 1), below = std::floor(place);
    const auto i = static_cast<std::size_t>(below);
    const double next = values[std::min(i + 1, values.size() - 1)];
    return values[i] + (place - below) * (next - values[i]);
  };
  return {quantile(0.5), quantile(0.25), quantile(0.75)};
}

}  // namespace zeroth::app
