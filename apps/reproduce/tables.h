#pragma once

#include <string>
#include <utility>
#include <vector>

#include "apps/options.h"
#include "apps/reproduce/published.h"

namespace zeroth::app {

/// One line of a table to reproduce: a recipe with some settings, trained from several seeds.
struct TableRow {
  std::string key;                  ///< begins the names of its runs: "rezero-resnet20"
  std::vector<std::string> traits;  ///< its cells under the table's trait_names
  std::string group;                ///< rows of one group share their charts: "depth 20"
  std::vector<std::pair<std::string, std::string>> settings;  ///< on top of the recipe
  const Published* published = nullptr;
  const Published* paper = nullptr;  ///< the ResNet paper's, where another table is published beside it
  std::string missing = {};          ///< why zeroth cannot train it; empty where it can

  std::string label() const;  ///< the traits in one line
};

/// A table to reproduce.
struct Table {
  std::string name, title, recipe;
  std::string source;  ///< who published the numbers beside ours, with words on how to read them
  std::vector<std::string> trait_names;
  std::vector<TableRow> rows;
};

/// rezero-table, colossalai-table, resnet-table, rezero-ablation.
const std::vector<Table>& tables();

/// Throws Error(usage) naming the tables there are.
const Table& find_table(const std::string& name);

/// How this reproduction departs from the recipe.
struct Departure {
  double epochs_scale = 1.0;                                 ///< in (0, 1]
  std::vector<std::pair<std::string, std::string>> changed;  ///< settings

  /// "scaled: 0.01 of the epochs; changed: batch_size = 10"; empty for a faithful one.
  std::string mark() const;
};

/// The options of a row's run. Throws Error(usage) for settings that there are not or that do not go
/// together. Everything that counts epochs or steps is scaled: the training's length, milestones, warm-up,
/// patience.
TrainOptions run_options(const Table& table, const TableRow& row, std::int64_t seed,
                         const Departure& departure);

}  // namespace zeroth::app
