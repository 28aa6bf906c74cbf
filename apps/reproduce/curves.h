#pragma once

#include <string>
#include <vector>

#include "apps/plot/chart.h"
#include "apps/reproduce/report.h"

namespace zeroth::app {

/// A chart and the name of its file: "depth-20-error.png".
struct Picture {
  std::string file;
  plot::Chart chart;
};

/// Of each group of rows, error and loss over epochs, means over the seeds; where a run is longer than 30
/// epochs also the first 30 alone. Solid: held out (validation, or test where nothing is held out); dashed:
/// training. In groups of more than three rows training alone.
std::vector<Picture> draw_curves(const Report& report);

}  // namespace zeroth::app
