#pragma once

#include <functional>
#include <string>
#include <vector>

#include "apps/bench/spread.h"
#include "kernels/check/kernel_case.h"
#include "models/problems.h"

namespace zeroth::app {

/// A network on batches of one size: "rezero-resnet20@128".
struct BenchShape {
  std::string model;
  std::int64_t batch = 0;
};

/// One call of an operation, to be checked and timed.
struct BenchCall {
  std::string problem;  ///< "conv2d 128x32x32x16 * 16x3x3 /1 +1 f32"
  check::KernelCase call;
  check::KernelCase smaller;     ///< the same call with fewer pictures, for the check
  std::int64_t checked = 0;      ///< how many pictures
  std::vector<int> counts = {};  ///< how often a training step makes the call, of each shape
};

/// A call of a training step, and how often a step makes it.
struct StepCall {
  std::string problem;
  check::KernelCase call;
  int count = 0;
};
/// Every different call of a training step of this network, apart from augmentation and optimizer. The
/// input's gradient of one problem may be written in some calls and added to in others; a call that no step
/// makes has the count 0.
std::vector<StepCall> step_calls(const ResNetConfig& config, std::int64_t batch, DType dtype);

struct KernelBenchOptions {
  DType dtype = DType::f32;
  std::vector<std::string> rows;  ///< names; empty: every row but the reference
  double min_time = 200.0;        ///< milliseconds that the timed calls of a row take together, about
  int rounds = 11;
  double rotate = -1.0;  ///< bytes of operands in rotation; negative: twice the last cache
};

/// What a device reaches at best; 0 where nothing is timed.
struct Ceilings {
  double copy = 0.0;    ///< bytes/s
  double matrix = 0.0;  ///< FLOP/s
};

/// One row on one call.
struct RowResult {
  std::string row;
  std::string fault;  ///< what is wrong with its results; empty: nothing
  Spread ms;          ///< of one call; zeros where it was not timed
  int calls = 0;      ///< in one round
  bool timed() const { return calls > 0; }
};

struct CallResult {
  std::string operation, problem, pass;  ///< pass: "backward data, added to"
  std::int64_t checked = 0;              ///< pictures
  double bytes = 0.0, flops = 0.0;       ///< of one call
  std::size_t rotated = 0;               ///< bytes of operands that calls went through
  std::vector<int> counts;
  std::vector<RowResult> rows;

  const RowResult* find(const std::string& row) const;
  /// The row of NVIDIA's or Intel's library among them; null where there is none, or it is wrong.
  const RowResult* library() const;
  /// Seconds that the ceilings allow: what moves at the rate of a copy, or what is computed at that of a
  /// matrix product, whichever takes longer.
  double floor_seconds(const Ceilings& ceilings) const;
};

/// The calls of a training step of every shape, each different one once. `operations`: those wanted; empty:
/// all. `check_cost`: about how much the reference may compute for one check, which decides how many pictures
/// it gets. Throws Error(usage) for a model there is not, or where no call is left.
std::vector<BenchCall> bench_calls(const std::vector<BenchShape>& shapes, DType dtype,
                                   const std::vector<std::string>& operations, double check_cost);

/// Checks the rows of every call, and times those that are right, on any device but simt. `done` gets each
/// result.
void run_kernel_bench(Context& context, const KernelBenchOptions& options,
                      const std::vector<BenchCall>& calls,
                      const std::function<void(const CallResult&)>& done);

}  // namespace zeroth::app
