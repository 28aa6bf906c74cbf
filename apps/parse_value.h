#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace zeroth::app {

// Text to values, completely or not at all. Each throws Error(usage) with what is expected and what came; the
// caller puts the setting's name before it.

/// A whole number in [least, most].
std::int64_t parse_integer(const std::string& text, std::int64_t least, std::int64_t most);

/// A 64-bit hash in decimal digits.
std::uint64_t parse_hash(const std::string& text);

/// A range of real numbers, with the words that describe it.
struct RealRange {
  double least, most;
  bool open_below = false, open_above = false;
  const char* words;  ///< "a number above 0"
};
inline constexpr double kLargestReal = 1e30;
inline constexpr RealRange kPositive{0.0, kLargestReal, true, false, "a number above 0"};
inline constexpr RealRange kNotNegative{0.0, kLargestReal, false, false, "a number of at least 0"};
inline constexpr RealRange kAnyReal{-kLargestReal, kLargestReal, false, false, "a number"};
inline constexpr RealRange kBelowOne{0.0, 1.0, false, true, "a number from 0 to below 1"};
inline constexpr RealRange kUpToOne{0.0, 1.0, true, false, "a number above 0 and at most 1"};

/// A finite number in a range.
double parse_real(const std::string& text, const RealRange& range);

bool parse_boolean(const std::string& text);

/// Text that a configuration can hold: not empty, and UTF-8, as TOML and JSON ask.
std::string parse_text(const std::string& text);
bool is_utf8(const std::string& text);

/// The parts between commas; an empty text has none, an empty part is refused.
std::vector<std::string> parse_list(const std::string& text);

/// The shortest text that reads back as the same number.
std::string print_real(double value);

}  // namespace zeroth::app
