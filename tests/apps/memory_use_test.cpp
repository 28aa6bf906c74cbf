#include "apps/memory_use.h"

#include "apps/out_of_memory.h"
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
  return measure_memory_use(context, options, {4, 3});
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

TEST_CASE("a training without memory is told what it takes, what there is and what fits", "[memory]") {
  TrainOptions options;
  options.model = "resnet20";
  options.batch_size = 1024;
  const MemorySets sets{2000, 100};
  const auto text = [&](std::size_t free, DeviceKind kind) {
    return out_of_memory_text(options, sets, {kind, 0}, free, "cudaMalloc refused");
  };
  const auto fitting = [](const std::string& said) {
    const std::string flag = "--batch-size ";
    const std::size_t at = said.find(flag);
    REQUIRE(at != std::string::npos);
    return std::stoll(said.substr(at + flag.size()));
  };
  for (const DeviceKind kind : {DeviceKind::cuda, DeviceKind::cpu}) {
    const std::string half = text(1'000'000'000, kind), quarter = text(500'000'000, kind);
    INFO(half);
    CHECK(half.find("cudaMalloc refused; resnet20 in batches of 1024 takes about ") == 0);
    CHECK(half.find("1.0 GB were free on the ") != std::string::npos);
    CHECK(fitting(half) < 1024);
    CHECK(fitting(quarter) < fitting(half));
    TrainOptions smaller = options;
    smaller.batch_size = fitting(quarter);
    CHECK(predict_memory_use(smaller, sets).peak() <= 500'000'000);
    smaller.batch_size = fitting(quarter) * 3 / 2;  // and it is not far from what there is
    CHECK(predict_memory_use(smaller, sets).peak() > 450'000'000);
    CHECK(text(1'000'000, kind).find("no batch fits") != std::string::npos);
    CHECK(text(std::size_t{64} << 30, kind).find("that should fit") != std::string::npos);
  }
}
