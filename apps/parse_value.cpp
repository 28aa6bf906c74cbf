#include "apps/parse_value.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "kernels/core/error.h"

namespace zeroth::app {

std::int64_t parse_integer(const std::string& text, std::int64_t least, std::int64_t most) {
  std::int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, status] = std::from_chars(text.data(), end, value);
  if (status != std::errc() || rest != end || value < least || value > most)
    fail(ErrorKind::usage, fmt::format("expected a whole number from {} to {}, not '{}'", least, most, text));
  return value;
}

std::uint64_t parse_hash(const std::string& text) {
  std::uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, status] = std::from_chars(text.data(), end, value);
  if (status != std::errc() || rest != end)
    fail(ErrorKind::usage, fmt::format("expected a hash in digits, not '{}'", text));
  return value;
}

double parse_real(const std::string& text, const RealRange& range) {
  double value = 0.0;
  const char* end = text.data() + text.size();
  const auto [rest, status] = std::from_chars(text.data(), end, value);
  const bool number = status == std::errc() && rest == end && std::isfinite(value);
  const bool inside = (range.open_below ? value > range.least : value >= range.least) &&
                      (range.open_above ? value < range.most : value <= range.most);
  if (!number || !inside) fail(ErrorKind::usage, fmt::format("expected {}, not '{}'", range.words, text));
  return value;
}

bool parse_boolean(const std::string& text) {
  if (text == "true" || text == "1") return true;
  if (text == "false" || text == "0") return false;
  fail(ErrorKind::usage, fmt::format("expected true or false, not '{}'", text));
}

std::string parse_text(const std::string& text) {
  if (text.empty()) fail(ErrorKind::usage, "expected a value, not ''");
  if (!is_utf8(text)) fail(ErrorKind::usage, "expected text in UTF-8, which this name is not; rename it");
  return text;
}

bool is_utf8(const std::string& text) {
  try {
    static_cast<void>(nlohmann::json(text).dump());
    return true;
  } catch (const nlohmann::json::type_error&) {
    return false;
  }
}

std::vector<std::string> parse_list(const std::string& text) {
  std::vector<std::string> parts;
  if (text.empty()) return parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    if (parts.back().empty())
      fail(ErrorKind::usage, fmt::format("expected values between commas, not '{}'", text));
    begin = end + 1;
  }
  return parts;
}

std::string print_real(double value) {
  return fmt::format("{}", value);
}

}  // namespace zeroth::app
