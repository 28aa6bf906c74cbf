#include "apps/memory_use.h"

#include "kernels/simt/stream.h"
#include "tests/catch.h"

using namespace zeroth;
using namespace zeroth::app;

namespace {

TrainOptions small_options(DType dtype, OptimizerKind optimizer) {
  TrainOptions options;
  options.model = "rezero-resnet8";
  options.batch_size = 2;
  options.amp = dtype;
  options.optimizer = optimizer;
  return options;
}

MemoryUse use_of(const TrainOptions& options, bool dry) {
  std::optional<simt::DryRun> dry_run;
  if (dry) dry_run.emplace();
  Context context({DeviceKind::simt, 0});
  context.set_forks(true);
  return measure_memory_use(context, options, 4, 3);
}

}  // namespace

TEST_CASE("a dry run finds the memory that a real one takes", "[memory]") {
  for (const auto& [dtype, optimizer] :
       {std::pair{DType::f32, OptimizerKind::sgd}, std::pair{DType::bf16, OptimizerKind::adamw}}) {
    const TrainOptions options = small_options(dtype, optimizer);
    const std::string dry = memory_json(options, use_of(options, true)),
                      real = memory_json(options, use_of(options, false));
    CHECK(dry == real);
  }
}

TEST_CASE("Muon's work memory and averages are counted", "[memory]") {
  TrainOptions options = small_options(DType::f16, OptimizerKind::muon);
  options.ema = 0.9;
  options.lookahead = 2;
  const MemoryUse use = use_of(options, true);
  CHECK(memory_json(options, use) == memory_json(options, use_of(options, false)));
  CHECK(use.moments == use.parameters);
  CHECK(use.averages > 2 * use.parameters);
  CHECK(use.workspace > 2 * use.parameters);  // x, twice, of all but two layers, and more
  options.model = "resnet18";
  options.optimizer = OptimizerKind::sgd;
  const std::size_t without = use_of(options, true).workspace;
  options.optimizer = OptimizerKind::muon;
  CHECK(use_of(options, true).workspace > without);
}

TEST_CASE("predicted memory grows with the batch, and activations shrink in 16 bits", "[memory]") {
  TrainOptions options = small_options(DType::f32, OptimizerKind::sgd);
  options.batch_size = 128;
  const MemoryUse wide = predict_memory_use(options);
  CHECK(wide.moments == wide.parameters);
  CHECK(wide.gradients == wide.parameters);
  CHECK(wide.working == 0);
  CHECK(wide.pictures == 60000u * (32 * 32 * 3 + 4));
  options.batch_size = 256;
  const MemoryUse large = predict_memory_use(options);
  CHECK(large.step > wide.step * 19 / 10);
  CHECK(large.step < wide.step * 21 / 10);
  options.amp = DType::bf16;
  options.optimizer = OptimizerKind::adamw;
  const MemoryUse narrow = predict_memory_use(options);
  CHECK(narrow.step < large.step * 6 / 10);
  CHECK(narrow.moments == 2 * narrow.parameters);
  CHECK(narrow.working == narrow.parameters);  // two copies of half the width
  CHECK(narrow.peak() < large.peak());
  // More than this machine has is no obstacle.
  options.model = "resnet1202";
  options.amp = DType::f32;
  options.batch_size = 1024;
  CHECK(predict_memory_use(options).peak() > std::size_t{64} << 30);
}
