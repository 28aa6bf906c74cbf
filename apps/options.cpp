#include "apps/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <utility>

#include "apps/setting_table.h"
#include "kernels/core/error.h"

namespace zeroth::app {

std::string Setting::flag() const {
  std::string text = "--" + key;
  std::replace(text.begin(), text.end(), '_', '-');
  return text;
}

std::string Setting::variable() const {
  std::string text = "ZEROTH_" + key;
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

std::span<const Setting> settings() {
  static const std::vector<Setting> table = [] {
    SettingTable builder;
    builder.lines.reserve(128);  // the references that add() returns stay valid
    add_run_settings(builder);
    add_model_settings(builder);
    add_data_settings(builder);
    add_optimization_settings(builder);
    add_machine_settings(builder);
    add_rank_settings(builder);
    add_parallel_settings(builder);
    return std::move(builder.lines);
  }();
  return table;
}

const Setting* find_setting(const std::string& key) {
  for (const Setting& setting : settings())
    if (setting.key == key) return &setting;
  return nullptr;
}

void check_together(const TrainOptions& o) {
  if (o.warmup >= static_cast<double>(o.epochs) && !is_cycle(o))
    fail(ErrorKind::usage, fmt::format("--warmup {} does not end within --epochs {}", o.warmup, o.epochs));
  if (o.parallel == Sharing::values && o.placement == Placement::automatic && !o.memory_budget)
    fail(ErrorKind::usage, "--placement auto needs --memory-budget, such as --memory-budget 8G");
  if (o.schedule == ScheduleKind::step && o.milestones.empty())
    fail(ErrorKind::usage, "--schedule step needs --milestones, such as --milestones 7");
}

}  // namespace zeroth::app
