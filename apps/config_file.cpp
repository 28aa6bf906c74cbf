#include "apps/config_file.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "apps/did_you_mean.h"
#include "apps/parse_value.h"
#include "kernels/core/error.h"

namespace zeroth::app {

namespace {

constexpr std::size_t kMostBytes = std::size_t{1} << 20;

std::string position(const std::string& name, const toml::source_region& where) {
  return fmt::format("{}:{}:{}", name, where.begin.line, where.begin.column);
}

const char* name_of(ValueType type) {
  switch (type) {
    case ValueType::integer:
      return "a whole number";
    case ValueType::real:
      return "a number";
    case ValueType::boolean:
      return "true or false";
    case ValueType::text:
      return "a text in quotes";
    case ValueType::list:
      return "a list in brackets or a text in quotes";
  }
  return "?";
}

/// The text of a single value, where a setting of this type may have it.
std::optional<std::string> scalar_text(const toml::node& node, ValueType type) {
  const bool list = type == ValueType::list;
  if (const auto* text = node.as_string(); text && (list || type == ValueType::text)) return text->get();
  if (const auto* whole = node.as_integer();
      whole && (list || type == ValueType::integer || type == ValueType::real))
    return std::to_string(whole->get());
  if (const auto* real = node.as_floating_point(); real && (list || type == ValueType::real))
    return print_real(real->get());
  if (const auto* truth = node.as_boolean(); truth && type == ValueType::boolean)
    return truth->get() ? "true" : "false";
  return std::nullopt;
}

std::optional<std::string> value_text(const toml::node& node, ValueType type) {
  const toml::array* items = node.as_array();
  if (items == nullptr || type != ValueType::list) return scalar_text(node, type);
  std::string joined;
  for (const toml::node& item : *items) {
    const std::optional<std::string> text = scalar_text(item, ValueType::list);
    if (!text || text->empty() || text->find(',') != std::string::npos) return std::nullopt;
    joined += (joined.empty() ? "" : ",") + *text;
  }
  return joined;
}

std::vector<std::string> file_keys() {
  std::vector<std::string> keys;
  for (const Setting& setting : settings())
    if (setting.from_file) keys.push_back(setting.key);
  return keys;
}

/// A TOML basic string.
std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      result += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      result += c;
    }
  }
  return result + '"';
}

}  // namespace

std::vector<Assignment> read_config_text(const std::string& text, const std::string& name) {
  toml::table table;
  try {
    table = toml::parse(text);
  } catch (const toml::parse_error& error) {
    fail(ErrorKind::usage, fmt::format("{}: {}", position(name, error.source()), error.description()));
  }
  std::vector<Assignment> assignments;
  for (const auto& [key, node] : table) {
    const std::string word(key.str());
    const std::string where = position(name, key.source());
    const Setting* setting = find_setting(word);
    if (setting == nullptr || !setting->from_file) {
      const std::vector<std::string> keys = file_keys();
      fail(ErrorKind::usage, fmt::format("{}: no setting '{}'{}", where, word, did_you_mean(word, keys)));
    }
    const std::optional<std::string> value = value_text(node, setting->type);
    if (!value) fail(ErrorKind::usage, fmt::format("{}: {} takes {}", where, word, name_of(setting->type)));
    assignments.push_back({setting, *value, fmt::format("{}: {}", where, word)});
  }
  return assignments;
}

std::vector<Assignment> read_config_file(const std::filesystem::path& path) {
  const auto refuse = [&](const std::string& reason) {
    fail(ErrorKind::usage, fmt::format("cannot read the configuration file {}: {}", path.string(), reason));
  };
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) refuse("it is a folder");
  std::ifstream file(path, std::ios::binary);
  if (!file) refuse(std::strerror(errno));
  std::string text(kMostBytes + 1, '\0');  // not the whole: it may be a device that never ends
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kMostBytes) refuse(fmt::format("it has more than {} bytes", kMostBytes));
  return read_config_text(text, path.string());
}

std::string write_config(const TrainOptions& options, const std::function<bool(const Setting&)>& chosen) {
  std::string text, group;
  for (const Setting& setting : settings()) {
    if (!chosen(setting)) continue;
    if (setting.group != group) {
      group = setting.group;
      text += fmt::format("{}# {}\n", text.empty() ? "" : "\n", group);
    }
    const std::string value = setting.print(options);
    if (value.empty()) {
      text += fmt::format("# {}: {}\n", setting.key, setting.unset);
      continue;
    }
    const bool plain = setting.type == ValueType::integer || setting.type == ValueType::real ||
                       setting.type == ValueType::boolean;
    text += fmt::format("{} = {}\n", setting.key, plain ? value : quoted(value));
  }
  return text;
}

void assign(TrainOptions& options, const Assignment& assignment) {
  try {
    assignment.setting->parse(options, assignment.text);
  } catch (const Error& error) {
    fail(error.kind(), fmt::format("{}: {}", assignment.source, error.what()));
  }
}

}  // namespace zeroth::app
