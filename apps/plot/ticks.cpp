#include "apps/plot/ticks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace zeroth::plot {

namespace {

double nice_step(double range, int wanted) {
  const double raw = range / std::max(wanted, 1), power = std::pow(10.0, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= raw * (1.0 - 1e-9)) return factor * power;
  return 10.0 * power;
}

/// 10 to an exponent: in digits where these are few, else "10⁷".
std::string power_label(double multiple, int exponent) {
  static constexpr const char* digits[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
  if (exponent >= -3 && exponent <= 4) return fmt::format("{:g}", multiple * std::pow(10.0, exponent));
  std::string text = multiple == 1.0 ? "10" : fmt::format("{:g}×10", multiple);
  if (exponent < 0) text += "⁻";
  for (const char digit : std::to_string(std::abs(exponent))) text += digits[digit - '0'];
  return text;
}

}  // namespace

Interval nice_interval(double low, double high, int wanted) {
  if (!(high > low)) {
    const double around = low == 0.0 ? 1.0 : std::fabs(low) * 0.1;
    low -= around, high += around;
  }
  const double step = nice_step(high - low, wanted);
  return {step * std::floor(low / step + 1e-9), step * std::ceil(high / step - 1e-9)};
}

std::vector<Tick> linear_ticks(double low, double high, int wanted) {
  const double step = nice_step(high - low, wanted);
  const double largest = std::max(std::fabs(low), std::fabs(high));
  const int decimals = std::max(0, static_cast<int>(-std::floor(std::log10(step) + 1e-9)));
  std::vector<Tick> ticks;
  for (double k = std::ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k += 1.0) {
    const double value = k == 0.0 ? 0.0 : k * step;  // no minus before 0
    if (largest >= 1e7 || decimals > 6)
      ticks.push_back({value, fmt::format("{:g}", value)});
    else if (largest >= 1e4 && decimals == 0 && std::fmod(step, 100.0) == 0.0)
      ticks.push_back({value, value == 0.0 ? "0" : fmt::format("{:g}k", value / 1000.0)});
    else
      ticks.push_back({value, fmt::format("{:.{}f}", value, decimals)});
  }
  return ticks;
}

std::vector<Tick> logarithmic_ticks(double low, double high, int most) {
  const double slack = 1e-9;
  const int first = static_cast<int>(std::floor(std::log10(low) + slack)),
            last = static_cast<int>(std::ceil(std::log10(high) - slack));
  const double decades = std::log10(high / low);
  const int every = std::max(1, static_cast<int>(std::ceil(decades / std::max(most, 1))));
  std::vector<Tick> ticks;
  for (int exponent = first; exponent <= last; ++exponent)
    for (const double multiple : {1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0}) {
      const double value = multiple * std::pow(10.0, exponent);
      if (value < low * (1.0 - slack) || value > high * (1.0 + slack)) continue;
      const bool labelled = multiple == 1.0
                                ? exponent % every == 0
                                : 3.0 * decades < most + 1.0 && (multiple == 2.0 || multiple == 5.0);
      if (multiple == 1.0 || decades < 4.0)
        ticks.push_back({value, labelled ? power_label(multiple, exponent) : std::string()});
    }
  return ticks;
}

}  // namespace zeroth::plot
