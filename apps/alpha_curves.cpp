#include "apps/alpha_curves.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace zeroth::app {

namespace {

constexpr std::size_t kNamed = 10;  // legend entries at most

/// From dark to light, as matplotlib's viridis without its yellow: brightness alone orders it.
plot::Colour depth_colour(double share) {
  static constexpr std::array<std::array<double, 3>, 4> kStops{
      {{68, 1, 84}, {59, 82, 139}, {33, 145, 140}, {94, 201, 98}}};
  const double place = share * static_cast<double>(kStops.size() - 1);
  const auto below = std::min(static_cast<std::size_t>(place), kStops.size() - 2);
  const double above = place - static_cast<double>(below);
  const auto mixed = [&](std::size_t c) {
    return static_cast<std::uint8_t>(
        std::lround((1.0 - above) * kStops[below][c] + above * kStops[below + 1][c]));
  };
  return {mixed(0), mixed(1), mixed(2)};
}

std::string block_of(const std::string& alpha) {
  const std::string suffix = ".alpha";
  return alpha.ends_with(suffix) ? alpha.substr(0, alpha.size() - suffix.size()) : alpha;
}

}  // namespace

std::vector<plot::Series> alpha_curves(const RunRecords& records) {
  std::vector<plot::Series> curves;
  for (const StepRecord& record : records.steps) {
    if (record.alphas.empty()) continue;
    curves.resize(record.alphas.size());
    for (std::size_t i = 0; i < curves.size(); ++i)
      curves[i].points.push_back({record.epoch, record.alphas[i].second});
  }
  const auto named = std::find_if(records.steps.begin(), records.steps.end(),
                                  [](const StepRecord& record) { return !record.alphas.empty(); });
  const std::size_t last = curves.empty() ? 0 : curves.size() - 1;
  for (std::size_t i = 0; i < curves.size(); ++i) {
    curves[i].colour = depth_colour(last == 0 ? 0.0 : static_cast<double>(i) / static_cast<double>(last));
    curves[i].line_width = 1.6;
    if (curves[i].points.size() == 1) curves[i].marker = plot::Marker::circle;
    // Evenly spaced ones, the first and the last among them.
    const std::size_t entries = std::min(kNamed, curves.size());
    for (std::size_t entry = 0; entry < entries; ++entry)
      if (i == (entries == 1 ? 0 : entry * last / (entries - 1)))
        curves[i].name = block_of(named->alphas[i].first);
  }
  return curves;
}

double mean_alpha(const StepRecord& record) {
  double sum = 0.0;
  for (const auto& [name, value] : record.alphas) sum += std::fabs(value);
  return record.alphas.empty() ? std::numeric_limits<double>::quiet_NaN()
                               : sum / static_cast<double>(record.alphas.size());
}

}  // namespace zeroth::app
