#pragma once

#include <string>
#include <vector>

#include "apps/bench/kernels.h"
#include "apps/plot/drawing.h"

namespace zeroth::app {

/// Where and how calls were measured.
struct BenchSetting {
  std::string device;     ///< "cpu"
  std::string processor;  ///< its name
  DType dtype = DType::f32;
  Ceilings ceilings;
  std::size_t cache = 0;  ///< bytes
  std::vector<BenchShape> shapes;
  KernelBenchOptions options;
};

/// "rezero-resnet20@128"
std::string to_string(const BenchShape& shape);

// For people, piece by piece while the measurements go on.
std::string heading_text(const BenchSetting& setting);
/// The lines of one call; with those that name its problem and the columns, where it differs from the call
/// before.
std::string call_text(const BenchSetting& setting, const CallResult& result, const CallResult* before);
/// What the calls of one training step take together, of every operation and row.
std::string totals_text(const BenchSetting& setting, const std::vector<CallResult>& results);

// All at once, for programs.
std::string bench_json(const BenchSetting& setting, const std::vector<CallResult>& results);
std::string bench_csv(const BenchSetting& setting, const std::vector<CallResult>& results);

/// Every row's calls below the roofline that the ceilings make.
plot::Drawing roofline(const BenchSetting& setting, const std::vector<CallResult>& results);

/// Throws Error(runtime), saying how many, where results of rows are wrong.
void refuse_wrong(const std::vector<CallResult>& results);

}  // namespace zeroth::app
