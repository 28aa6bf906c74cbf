#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <limits>
#include <utility>

#include "apps/options.h"
#include "apps/parse_value.h"
#include "kernels/core/error.h"

namespace zeroth::app {

/// The names of an enumeration's values.
template <class Enum>
using Choices = std::vector<std::pair<const char*, Enum>>;

inline constexpr std::int64_t kMany = std::numeric_limits<std::int32_t>::max();

template <class Enum>
std::string names_of(const Choices<Enum>& choices) {
  std::vector<std::string> names;
  for (const auto& [name, value] : choices) names.emplace_back(name);
  return fmt::format("{}", fmt::join(names, ", "));
}

template <class Enum>
Enum parse_choice(const Choices<Enum>& choices, const std::string& text) {
  for (const auto& [name, value] : choices)
    if (text == name) return value;
  fail(ErrorKind::usage, fmt::format("expected one of {}, not '{}'", names_of(choices), text));
}

template <class Enum>
std::string print_choice(const Choices<Enum>& choices, Enum wanted) {
  for (const auto& [name, value] : choices)
    if (value == wanted) return name;
  return "";
}

/// Builds the table; each method adds the line of one member and returns it for its traits.
class SettingTable {
 public:
  std::vector<Setting> lines;

  void group(std::string name) { group_ = std::move(name); }

  Setting& integer(const char* key, std::int64_t TrainOptions::*member, std::int64_t least, std::int64_t most,
                   std::string help) {
    return add(
        key, "N", ValueType::integer, std::move(help),
        [=](TrainOptions& o, const std::string& text) { o.*member = parse_integer(text, least, most); },
        [=](const TrainOptions& o) { return std::to_string(o.*member); });
  }
  Setting& integer(const char* key, std::optional<std::int64_t> TrainOptions::*member, std::int64_t least,
                   std::int64_t most, std::string unset, std::string help) {
    Setting& line = add(
        key, "N", ValueType::integer, std::move(help),
        [=](TrainOptions& o, const std::string& text) { o.*member = parse_integer(text, least, most); },
        [=](const TrainOptions& o) { return o.*member ? std::to_string(*(o.*member)) : ""; });
    line.unset = std::move(unset);
    return line;
  }
  Setting& real(const char* key, double TrainOptions::*member, RealRange range, std::string help) {
    return add(
        key, "X", ValueType::real, std::move(help),
        [=](TrainOptions& o, const std::string& text) { o.*member = parse_real(text, range); },
        [=](const TrainOptions& o) { return print_real(o.*member); });
  }
  Setting& real(const char* key, std::optional<double> TrainOptions::*member, RealRange range,
                std::string unset, std::string help) {
    Setting& line = add(
        key, "X", ValueType::real, std::move(help),
        [=](TrainOptions& o, const std::string& text) { o.*member = parse_real(text, range); },
        [=](const TrainOptions& o) { return o.*member ? print_real(*(o.*member)) : ""; });
    line.unset = std::move(unset);
    return line;
  }
  Setting& boolean(const char* key, bool TrainOptions::*member, std::string help) {
    return add(
        key, "", ValueType::boolean, std::move(help),
        [=](TrainOptions& o, const std::string& text) { o.*member = parse_boolean(text); },
        [=](const TrainOptions& o) { return o.*member ? "true" : "false"; });
  }
  Setting& text(const char* key, std::string TrainOptions::*member, const char* placeholder,
                std::string unset, std::string help) {
    Setting& line = add(
        key, placeholder, ValueType::text, std::move(help),
        [=](TrainOptions& o, const std::string& value) { o.*member = parse_text(value); },
        [=](const TrainOptions& o) { return o.*member; });
    line.unset = std::move(unset);
    return line;
  }
  template <class Enum>
  Setting& choice(const char* key, Enum TrainOptions::*member, const Choices<Enum>& choices,
                  const std::string& help) {
    return add(
        key, "NAME", ValueType::text, fmt::format("{}: {}", help, names_of(choices)),
        [=](TrainOptions& o, const std::string& value) { o.*member = parse_choice(choices, value); },
        [=](const TrainOptions& o) { return print_choice(choices, o.*member); });
  }

  Setting& add(const char* key, const char* placeholder, ValueType type, std::string help,
               std::function<void(TrainOptions&, const std::string&)> parse,
               std::function<std::string(const TrainOptions&)> print) {
    Setting line;
    line.key = key;
    line.placeholder = placeholder;
    line.group = group_;
    line.help = std::move(help);
    line.type = type;
    line.parse = std::move(parse);
    line.print = std::move(print);
    lines.push_back(std::move(line));
    return lines.back();
  }

 private:
  std::string group_;
};

/// Each adds the settings of one subject to the table that settings() gives (options.h).
void add_run_settings(SettingTable& table);
void add_model_settings(SettingTable& table);
void add_data_settings(SettingTable& table);
void add_optimization_settings(SettingTable& table);
void add_optimizer_settings(SettingTable& table);  // within the former
void add_average_settings(SettingTable& table);    // the same
void add_machine_settings(SettingTable& table);
void add_rank_settings(SettingTable& table);
void add_parallel_settings(SettingTable& table);

/// Whether the learning rate rises and falls by itself, so that there is no warmup.
bool is_cycle(const TrainOptions& options);

/// Holds where blocks have an alpha.
extern const Setting::Condition kReZero;

}  // namespace zeroth::app
