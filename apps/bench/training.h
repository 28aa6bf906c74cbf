#pragma once

#include <string>
#include <vector>

#include "apps/bench/kernels.h"
#include "apps/options.h"

namespace zeroth::app {

struct TrainBenchOptions {
  TrainOptions training;
  int warmup = 5, windows = 7, steps = 10;  ///< steps: in a window
};

/// One operation and row in a training step.
struct OperationTime {
  std::string operation;  ///< "conv2d_backward_data"
  std::string row;
  double calls = 0.0, ms = 0.0;  ///< of one step
};

/// What a training step cannot be faster than where every operation reads its operands from memory and writes
/// its results there, each once.
struct StepFloor {
  double bytes = 0.0, flops = 0.0;
  double memory_ms = 0.0;    ///< the bytes at the rate of a copy
  double roofline_ms = 0.0;  ///< of every call the longer one: its bytes at that rate, or its FLOPs at that
                             ///< of a matrix product
};

struct TrainBenchResult {
  Ceilings ceilings;
  std::vector<double> images_per_second;  ///< of each window
  Spread spread;                          ///< of these
  Spread step_ms;
  std::string step_mode, step_notice;  ///< how steps were queued, and why not as asked
  std::size_t peak_bytes = 0;          ///< from the context's allocator, the resident pictures included
  StepFloor floor;
  std::vector<OperationTime> operations;  ///< from a pass of its own, step by step, longest first
  double observed_ms = 0.0;               ///< a step of that pass
  double calls() const;                   ///< of operations, in a step
};

/// The floor of a step of this network. Parameters are read with their gradients and moments and written with
/// their moments by the optimizer.
StepFloor floor_of(const ResNetConfig& config, std::int64_t batch, DType dtype, std::int64_t parameters,
                   OptimizerKind optimizer, const Ceilings& ceilings);

/// Trains on random pictures that lie on the device: a step gathers and augments a batch, runs forward, loss
/// and backward, and updates the weights.
TrainBenchResult run_train_bench(Context& context, const TrainBenchOptions& options);

}  // namespace zeroth::app
