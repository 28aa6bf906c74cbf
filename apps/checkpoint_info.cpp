#include "apps/checkpoint_info.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <sstream>
#include <type_traits>

#include "apps/parse_value.h"
#include "engine/checkpoint.h"
#include "kernels/core/error.h"

namespace zeroth::app {

namespace {

constexpr const char* kFormatPrefix = "zeroth checkpoint ";
constexpr std::int64_t kVersion = 3;  // docs/checkpoints.md says what each has
constexpr const char* kClassNames = "class_names";
constexpr std::int64_t kMostSteps = std::numeric_limits<std::int32_t>::max();  // the optimizer's counter
constexpr std::int64_t kMostExtent = 1 << 16, kMostChannels = 4;

/// Checkpoint metadata are text; each of these refuses what is not entirely of its kind.
class Fields {
 public:
  Fields(const SafetensorsMetadata& metadata, const std::string& name) : metadata_(metadata), name_(name) {}

  const std::string& text(const char* key) const {
    const auto found = metadata_.find(key);
    if (found == metadata_.end()) refuse(fmt::format("it has no '{}'", key));
    return found->second;
  }
  std::int64_t integer(const char* key, std::int64_t least, std::int64_t most) const {
    return parsed(key, [&](const std::string& value) { return parse_integer(value, least, most); });
  }
  double real(const char* key, const RealRange& range) const {
    return parsed(key, [&](const std::string& value) { return parse_real(value, range); });
  }
  std::uint64_t hash(const char* key) const {
    return parsed(key, [](const std::string& value) { return parse_hash(value); });
  }
  bool has(const char* key) const { return metadata_.contains(key); }
  [[noreturn]] void refuse(const std::string& reason) const {
    fail(ErrorKind::data, fmt::format("{} is no checkpoint of zeroth: {}", name_, reason));
  }

 private:
  template <class Parse>
  std::invoke_result_t<Parse, const std::string&> parsed(const char* key, Parse&& parse) const {
    const std::string& value = text(key);
    try {
      return parse(value);
    } catch (const Error& error) {
      fail(ErrorKind::data, fmt::format("{} is damaged: its '{}': {}", name_, key, error.what()));
    }
  }

  const SafetensorsMetadata& metadata_;
  const std::string name_;
};

std::int64_t version_of(const Fields& fields) {
  const std::string& format = fields.text("format");
  if (!format.starts_with(kFormatPrefix)) fields.refuse(fmt::format("its format is '{}'", format));
  try {
    return parse_integer(format.substr(std::strlen(kFormatPrefix)), 1, kVersion);
  } catch (const Error&) {
    fields.refuse(
        fmt::format("its format is '{}'; this program reads up to '{}{}'", format, kFormatPrefix, kVersion));
  }
}

/// Metadata are UTF-8, and names stand in them a line each.
bool can_be_kept(const std::vector<std::string>& class_names) {
  return !class_names.empty() && std::all_of(class_names.begin(), class_names.end(), [](const auto& name) {
    return is_utf8(name) && name.find('\n') == std::string::npos;
  });
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

}  // namespace

SafetensorsMetadata CheckpointInfo::metadata() const {
  SafetensorsMetadata all{{"format", kFormatPrefix + std::to_string(kVersion)},
                          {"step", std::to_string(step)},
                          {"config", config},
                          {"data", data},
                          {"data_hash", std::to_string(data_hash)},
                          {"classes", std::to_string(classes)},
                          {"height", std::to_string(height)},
                          {"width", std::to_string(width)},
                          {"channels", std::to_string(channels)},
                          {"epoch_loss", print_real(epoch_loss)},
                          {"epoch_correct", std::to_string(epoch_correct)},
                          {"epoch_rows", std::to_string(epoch_rows)}};
  if (can_be_kept(class_names)) all[kClassNames] = fmt::format("{}", fmt::join(class_names, "\n"));
  if (best_accuracy) all["best_accuracy"] = print_real(*best_accuracy);
  if (best_step) all["best_step"] = std::to_string(*best_step);
  if (plateau.best) {
    all["plateau_best"] = print_real(*plateau.best);
    all["plateau_bad_epochs"] = std::to_string(plateau.bad_epochs);
    all["plateau_cooldown_left"] = std::to_string(plateau.cooldown_left);
    all["plateau_scale"] = print_real(plateau.scale);
  }
  if (evaluation_due) all["evaluation_due"] = "1";
  if (early_stop.best) {
    all["early_stop_best"] = print_real(*early_stop.best);
    all["early_stop_epochs_below"] = std::to_string(early_stop.epochs_below);
  }
  return all;
}

bool is_checkpoint(const SafetensorsFile& file) {
  const auto format = file.metadata().find("format");
  return format != file.metadata().end() && format->second.starts_with(kFormatPrefix);
}

CheckpointInfo checkpoint_info(const SafetensorsFile& file) {
  CheckpointInfo info = checkpoint_info(file.metadata(), file.path().string());
  const Fields fields(file.metadata(), file.path().string());
  const std::int64_t version = version_of(fields);
  if (version == 1 && fields.has("crc32"))
    fields.refuse("its format is of before there were checksums, and it has one");
  if (version > 1) check_contents(file, version == 2 ? Checksums::whole : Checksums::each);
  return info;
}

CheckpointInfo checkpoint_info(const SafetensorsMetadata& metadata, const std::string& name) {
  const Fields fields(metadata, name);
  static_cast<void>(version_of(fields));
  CheckpointInfo info;
  info.step = fields.integer("step", 0, kMostSteps);
  info.config = fields.text("config");
  info.data = fields.text("data");
  info.data_hash = fields.hash("data_hash");
  info.classes = fields.integer("classes", 1, kMostExtent);
  if (fields.has(kClassNames)) {
    info.class_names = lines_of(fields.text(kClassNames));
    if (static_cast<std::int64_t>(info.class_names.size()) != info.classes)
      fields.refuse(
          fmt::format("it has {} class names for {} classes", info.class_names.size(), info.classes));
  }
  info.height = fields.integer("height", 1, kMostExtent);
  info.width = fields.integer("width", 1, kMostExtent);
  info.channels = fields.integer("channels", 1, kMostChannels);
  constexpr double kMost = std::numeric_limits<double>::max();
  constexpr RealRange kFinite{-kMost, kMost, false, false, "a finite number"};
  info.epoch_loss = fields.real("epoch_loss", kFinite);
  info.epoch_rows = fields.integer("epoch_rows", 0, std::numeric_limits<std::int64_t>::max());
  info.epoch_correct = fields.integer("epoch_correct", 0, info.epoch_rows);
  constexpr RealRange kShare{0.0, 1.0, false, false, "a number from 0 to 1"};
  if (fields.has("best_accuracy")) info.best_accuracy = fields.real("best_accuracy", kShare);
  if (fields.has("plateau_best")) {
    info.plateau.best = fields.real("plateau_best", kShare);
    info.plateau.bad_epochs = fields.integer("plateau_bad_epochs", 0, kMostSteps);
    info.plateau.cooldown_left = fields.integer("plateau_cooldown_left", 0, kMostSteps);
    info.plateau.scale = fields.real("plateau_scale", kShare);
  }
  if (fields.has("early_stop_best")) {
    info.early_stop.best = fields.real("early_stop_best", kShare);
    info.early_stop.epochs_below = fields.integer("early_stop_epochs_below", 0, kMostSteps);
  }
  info.evaluation_due = fields.has("evaluation_due") && fields.integer("evaluation_due", 0, 1) == 1;
  if (fields.has("best_step")) info.best_step = fields.integer("best_step", 0, info.step);
  return info;
}

}  // namespace zeroth::app
