#include "apps/reproduce/tables.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "apps/did_you_mean.h"
#include "apps/parse_value.h"
#include "apps/resolve.h"
#include "kernels/core/error.h"

namespace zeroth::app {

namespace {

Table rezero_table() {
  Table table{"rezero-table",
              "ReZero ResNet on CIFAR-10",
              "rezero-published",
              "Published: the table in the README of fabio-deep/ReZero-ResNet, one seed each. Read off its "
              "curves: at depth "
              "110 the training error falls to 20 % after 15 epochs in the plain network, after 8 with "
              "ReZero. Paper: "
              "He et al. 2015, table 6 (shortcut A, another schedule).",
              {"model"},
              {}};
  for (const char* prefix : {"", "rezero-"})
    for (const int depth : {20, 56, 110}) {
      const std::string base = fmt::format("resnet{}", depth), model = prefix + base;
      table.rows.push_back({model,
                            {fmt::format("{}ResNet-{}", *prefix == '\0' ? "" : "ReZero ", depth)},
                            fmt::format("depth {}", depth),
                            {{"model", model}},
                            find_published(kReZeroTable, model),
                            *prefix == '\0' ? find_published(kResNetPaper, base) : nullptr});
    }
  return table;
}

Table resnet_table() {
  Table table{"resnet-table",
              "ResNet on CIFAR-10",
              "resnet-paper",
              "Published: He et al. 2015, table 6; of ResNet-110 the best of five runs (6.61 ± 0.16).",
              {"model"},
              {}};
  for (const int depth : {20, 32, 44, 56, 110}) {
    const std::string model = fmt::format("resnet{}", depth);
    table.rows.push_back({model,
                          {fmt::format("ResNet-{}", depth)},
                          fmt::format("depth {}", depth),
                          {{"model", model}},
                          find_published(kResNetPaper, model)});
    if (depth == 110) table.rows.back().settings.emplace_back("warmup", "1");
  }
  return table;
}

Table colossalai_table() {
  const char* source =
      "Published: the accuracies in the README of ColossalAI's examples/images/resnet, here as errors. A "
      "public "
      "replication reached errors of 14.55 % (26 to 29 s an epoch) and 15.25 % (41 to 46 s).";
  const auto row = [](const char* key, const char* label, const char* missing) {
    return TableRow{key,     {label}, "ResNet-18", {{"model", "resnet18"}}, find_published(kColossalAi, key),
                    nullptr, missing};
  };
  return {"colossalai-table",
          "ResNet-18 on CIFAR-10 with ColossalAI's recipe",
          "colossalai-resnet18",
          source,
          {"strategy"},
          {row("single", "one device, f32", ""),
           row("torch_ddp", "torch_ddp: data parallel, f32", "data parallel training does not exist yet"),
           row("torch_ddp_fp16", "torch_ddp_fp16: data parallel, f16",
               "data parallel training does not exist yet"),
           row("low_level_zero", "low_level_zero: ZeRO 1 and 2", "sharded optimizer states do not exist yet"),
           row("gemini", "gemini: ZeRO 3 in chunks", "sharded parameters do not exist yet")}};
}

Table rezero_ablation() {
  Table table{"rezero-ablation",
              "ReZero: form, decay and rate of alpha",
              "rezero-ablation",
              "Nothing is published to compare with.",
              {"depth", "form", "alpha", "alpha's rate"},
              {}};
  for (const int depth : {20, 56})
    for (const char* form : {"post", "authors"})
      for (const bool decayed : {true, false})
        for (const char* rate : {"0.1", "0.01"})
          table.rows.push_back(
              {fmt::format("rezero-resnet{}-{}-{}-rate{}", depth, form, decayed ? "decayed" : "free", rate),
               {std::to_string(depth), form, decayed ? "decayed" : "not decayed", rate},
               fmt::format("depth {}", depth),
               {{"model", fmt::format("rezero-resnet{}", depth)},
                {"residual", form},
                {"alpha_wd", decayed ? "5e-4" : "0"},
                {"alpha_lr", rate}}});
  return table;
}

std::int64_t scaled(std::int64_t count, double factor, std::int64_t least) {
  return std::max(least, static_cast<std::int64_t>(std::llround(static_cast<double>(count) * factor)));
}

}  // namespace

std::string TableRow::label() const {
  return fmt::format("{}", fmt::join(traits, ", "));
}

const std::vector<Table>& tables() {
  static const std::vector<Table> all{rezero_table(), colossalai_table(), resnet_table(), rezero_ablation()};
  return all;
}

const Table& find_table(const std::string& name) {
  std::vector<std::string> names;
  for (const Table& table : tables()) {
    if (table.name == name) return table;
    names.push_back(table.name);
  }
  fail(ErrorKind::usage,
       fmt::format("no table '{}': there are {}{}", name, fmt::join(names, ", "), did_you_mean(name, names)));
}

std::string Departure::mark() const {
  std::string text;
  if (epochs_scale != 1.0) text = fmt::format("scaled: {} of the epochs", print_real(epochs_scale));
  std::vector<std::string> lines;
  for (const auto& [key, value] : changed) lines.push_back(fmt::format("{} = {}", key, value));
  if (!lines.empty()) text += fmt::format("{}changed: {}", text.empty() ? "" : "; ", fmt::join(lines, ", "));
  return text;
}

TrainOptions run_options(const Table& table, const TableRow& row, std::int64_t seed,
                         const Departure& departure) {
  Said said;
  const auto add = [&](const std::string& key, const std::string& value, const std::string& source) {
    said.command_line.push_back({find_setting(key), value, source});
  };
  add("recipe", table.recipe, "recipe");
  for (const auto& [key, value] : row.settings) add(key, value, row.key + ": " + key);
  add("seed", std::to_string(seed), "seed");
  for (const auto& [key, value] : departure.changed) add(key, value, "--with " + key);
  TrainOptions options = resolve(said);
  const double factor = departure.epochs_scale;
  if (factor == 1.0) return options;
  options.epochs = scaled(options.epochs, factor, 1);
  if (options.max_steps) options.max_steps = scaled(*options.max_steps, factor, 1);
  if (options.early_stop) options.early_stop = scaled(*options.early_stop, factor, 1);
  for (double& milestone : options.milestones) milestone *= factor;
  options.warmup *= factor;
  options.plateau.patience = scaled(options.plateau.patience, factor, 0);
  options.plateau.cooldown = scaled(options.plateau.cooldown, factor, 0);
  return options;
}

}  // namespace zeroth::app
