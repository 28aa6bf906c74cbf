#include <cmath>

#include "apps/setting_table.h"

namespace zeroth::app {

namespace {

const Choices<Sharing> kStrategies{{"ddp", Sharing::nothing},
                                   {"zero1", Sharing::optimizer_state},
                                   {"zero2", Sharing::gradients},
                                   {"gemini", Sharing::values}};
const Choices<Offload> kOffloads{
    {"none", Offload::nothing}, {"optimizer", Offload::optimizer}, {"all", Offload::all}};
const Choices<Placement> kPlacements{{"static", Placement::fixed}, {"auto", Placement::automatic}};
const Choices<ScaleLr> kScaleLr{{"none", ScaleLr::none}, {"linear", ScaleLr::linear}};

const Setting::Condition kGemini{"--parallel gemini",
                                 [](const TrainOptions& o) { return o.parallel == Sharing::values; }};
const Setting::Condition kFixed{"--parallel gemini and --placement static", [](const TrainOptions& o) {
                                  return o.parallel == Sharing::values && o.placement == Placement::fixed;
                                }};

constexpr RealRange kFraction{0.0, 1.0, false, false, "a number from 0 to 1"};

/// Bytes, with K, M, G or T for powers of 1024.
std::int64_t parse_size(const std::string& text) {
  const std::string units = "KMGT";
  const std::size_t unit = text.empty() ? std::string::npos : units.find(text.back());
  const int power = unit == std::string::npos ? 0 : static_cast<int>(unit) + 1;
  const std::string number = power == 0 ? text : text.substr(0, text.size() - 1);
  try {
    const double bytes = std::ldexp(parse_real(number, kPositive), 10 * power);
    if (bytes >= 1.0 && bytes < 0x1p62) return static_cast<std::int64_t>(bytes);
  } catch (const Error&) {  // said below in this setting's words
  }
  fail(ErrorKind::usage, fmt::format("expected a size such as 500M or 1.5G, not '{}'", text));
}

std::string print_size(std::int64_t bytes) {
  for (int power = 4; power > 0; --power)
    if (const std::int64_t unit = std::int64_t{1} << (10 * power); bytes % unit == 0)
      return fmt::format("{}{}", bytes / unit, " KMGT"[power]);
  return std::to_string(bytes);
}

}  // namespace

void add_parallel_settings(SettingTable& table) {
  table.group("Several ranks");
  // Nothing of this changes what a checkpoint holds.
  const auto free = [](Setting& setting) -> Setting& {
    setting.may_change = true;
    setting.in_checkpoint = false;
    return setting;
  };
  free(table.choice("parallel", &TrainOptions::parallel, kStrategies,
                    "what ranks share out: nothing, the optimizer's state, gradients too, values too"));
  free(table.choice("offload", &TrainOptions::offload, kOffloads,
                    "what lies in the host's memory and is updated there: the optimizer's state, or all that "
                    "a rank keeps of values too"));
  free(table.choice("placement", &TrainOptions::placement, kPlacements,
                    "how much of the values ranks share: by --shard-fraction, or as much as --memory-budget "
                    "asks for"))
      .only_with = kGemini;
  free(table.real("shard_fraction", &TrainOptions::shard_fraction, kFraction,
                  "fraction of the weights that ranks share; the rest stays on each"))
      .only_with = kFixed;
  Setting& budget = free(table.add(
      "memory_budget", "SIZE", ValueType::text,
      "most memory that weights, gradients and the optimizer's state may take on a device, such as 500M: "
      "where "
      "they take more, the training does not begin",
      [](TrainOptions& o, const std::string& text) { o.memory_budget = parse_size(text); },
      [](const TrainOptions& o) { return o.memory_budget ? print_size(*o.memory_budget) : ""; }));
  budget.unset = "no limit";
  table.choice("scale_lr", &TrainOptions::scale_lr, kScaleLr,
               "what the number of ranks does to the learning rate: nothing, or times as much");
}

}  // namespace zeroth::app
