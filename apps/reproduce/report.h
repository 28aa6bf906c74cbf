#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "apps/reproduce/results.h"
#include "apps/reproduce/tables.h"

namespace zeroth::app {

/// A row of a table with what has been trained of it.
struct ReportRow {
  const TableRow* row = nullptr;
  std::int64_t parameters = 0;
  std::vector<RunResult> runs;  ///< those that have ended
};

struct Report {
  const Table* table = nullptr;
  std::vector<ReportRow> rows;
  std::int64_t seeds = 1;          ///< runs that a row should have
  std::string mark;                ///< what departs from the recipe; empty for a faithful reproduction
  double training_accuracy = 0.8;  ///< the epochs until then are told
};

/// Lines of cells; the first are the headings.
using Cells = std::vector<std::vector<std::string>>;

/// The table, zeroth's numbers beside the published ones.
Cells table_cells(const Report& report);

/// As Markdown: title, table, notes. `pictures`: file names beside it.
std::string to_markdown(const Report& report, const std::vector<std::string>& pictures);

/// Writes report.md, report.html (pictures inside) and the PNG pictures into the folder. Throws
/// Error(runtime).
void write_report(const Report& report, const std::filesystem::path& folder);

}  // namespace zeroth::app
