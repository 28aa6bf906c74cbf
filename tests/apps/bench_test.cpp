#include <map>

#include "apps/bench/kernel_report.h"
#include "apps/bench/rotation.h"
#include "apps/bench/training.h"
#include "data/order.h"
#include "engine/trainer.h"
#include "kernels/check/call.h"
#include "kernels/check/cases.h"
#include "kernels/core/profile_range.h"
#include "tests/catch.h"
#include "tests/data/scratch.h"

using namespace zeroth;
using namespace zeroth::app;

namespace {

/// The calls of a linear layer in a step of a small network.
std::vector<BenchCall> linear_calls() {
  return bench_calls({{"resnet8", 4}}, DType::f32, {"linear"}, 1e6);
}

BenchSetting setting_of(const KernelBenchOptions& options) {
  return {.device = "cpu",
          .processor = "test",
          .dtype = options.dtype,
          .ceilings = {1e10, 1e11},
          .cache = 1 << 20,
          .shapes = {{"resnet8", 4}},
          .options = options};
}

std::vector<CallResult> run(const std::vector<BenchCall>& calls, const KernelBenchOptions& options) {
  Context context({DeviceKind::cpu, 0});
  std::vector<CallResult> results;
  run_kernel_bench(context, options, calls, [&](const CallResult& result) { results.push_back(result); });
  return results;
}

KernelBenchOptions quick() {
  KernelBenchOptions options;
  options.min_time = 1.0;
  options.rounds = 3;
  options.rotate = 1e5;
  return options;
}

/// Counts the operations that run.
struct Counter final : RangeObserver {
  std::map<std::string, int> counts;

  void begin(const char* name, const char* row) override {
    if (row != nullptr) ++counts[name];
  }
  void end() override {}
};

/// As the operation's functions are called: "conv2d_backward_data", "batch_norm_forward_training".
std::string function_of(const check::KernelCase& call) {
  std::string name = call.operation + '_' + name_of(call.pass);
  std::replace(name.begin(), name.end(), ' ', '_');
  return call.operation.starts_with("batch_norm") && call.pass == check::Pass::forward ? name + "_training"
                                                                                       : name;
}

}  // namespace

TEST_CASE("a wrong result is called WRONG, is not timed, and ends with exit code 1", "[bench]") {
  std::vector<BenchCall> calls = linear_calls();
  REQUIRE(calls.size() == 3);
  CHECK(calls[0].call.pass == check::Pass::forward);
  // The first element of y, one too large; the reference, in f64, is left alone.
  calls[0].smaller.run = [run = calls[0].smaller.run](Context& context, DType dtype, auto operands,
                                                      Workspace w) {
    run(context, dtype, operands, w);
    if (dtype == DType::f32) static_cast<float*>(operands[3].data)[0] += 1.0f;
  };
  const std::vector<CallResult> results = run(calls, quick());
  REQUIRE(results.size() == 3);
  REQUIRE(results[0].rows.size() == 1);
  CHECK_THAT(results[0].rows[0].fault, ContainsSubstring("operand y: element 0 is "));
  CHECK(!results[0].rows[0].timed());
  CHECK(results[1].rows[0].fault.empty());
  CHECK(results[1].rows[0].timed());

  const BenchSetting setting = setting_of(quick());
  CHECK_THAT(call_text(setting, results[0], nullptr), ContainsSubstring("WRONG: operand y: element 0 is "));
  CHECK_THAT(bench_json(setting, results), ContainsSubstring("\"right\":false,\"fault\":\"operand y"));
  CHECK_THAT(bench_csv(setting, results), ContainsSubstring(",onednn,no,4,,,,"));
  CHECK_THAT(totals_text(setting, results), ContainsSubstring("linear                       3"));
  CHECK(static_cast<int>(ErrorKind::runtime) == 1);
  CHECK_THAT(test::message_of(ErrorKind::runtime, [&] { refuse_wrong(results); }),
             ContainsSubstring("1 result of a row is wrong"));
  CHECK_NOTHROW(refuse_wrong(run(linear_calls(), quick())));
}

TEST_CASE("an element that a row leaves out, and a write beside an operand, are wrong", "[bench]") {
  std::vector<BenchCall> calls = linear_calls();
  calls[0].smaller.run = [](Context& context, DType dtype, auto operands, Workspace w) {
    if (dtype == DType::f64)
      linear_forward(context, {4, 64, 10, dtype}, operands[0], operands[1], operands[2], operands[3], w);
  };
  calls[1].smaller.run = [run = calls[1].smaller.run](Context& context, DType dtype, auto operands,
                                                      Workspace w) {
    run(context, dtype, operands, w);
    if (dtype == DType::f32) static_cast<float*>(operands[0].data)[0] += 1.0f;
  };
  const std::vector<CallResult> results = run(calls, quick());
  CHECK_THAT(results[0].rows[0].fault, ContainsSubstring("operand y: element 0 is -nan") ||
                                           ContainsSubstring("operand y: element 0 is nan"));
  CHECK_THAT(results[0].rows[0].fault, ContainsSubstring("40 of 40 are wrong"));
  CHECK_THAT(results[1].rows[0].fault, ContainsSubstring("operand dy, an input, was changed"));
}

TEST_CASE("rows are timed against the library and the ceilings", "[bench]") {
  KernelBenchOptions options = quick();
  options.rows = {"onednn", "reference"};
  const std::vector<CallResult> results = run(linear_calls(), options);
  for (const CallResult& result : results) {
    REQUIRE(result.rows.size() == 2);
    REQUIRE(result.library() != nullptr);
    CHECK(result.library()->row == "onednn");
    CHECK(result.rotated >= 100000);
    CHECK(result.flops == 2.0 * 4 * 64 * 10);
    for (const RowResult& row : result.rows) {
      CHECK(row.ms.low <= row.ms.median);
      CHECK(row.ms.median <= row.ms.high);
      CHECK(row.ms.median > 0.0);
    }
  }
  CHECK(results[0].bytes == 4.0 * (4 * 64 + 10 * 64 + 10 + 4 * 10));
  CHECK(results[0].floor_seconds({1e9, 1e12}) == results[0].bytes / 1e9);
  CHECK(results[0].floor_seconds({1e12, 1e9}) == results[0].flops / 1e9);
}

TEST_CASE("an operation that no step of a shape makes is refused", "[bench]") {
  CHECK(test::message_of(ErrorKind::usage, [] {
          bench_calls({{"resnet8", 4}}, DType::f32, {"max_pool"}, 1e6);
        }) == "a training step of these shapes makes no call of max_pool");
}

TEST_CASE("a problem that two shapes share is one call with two counts", "[bench]") {
  const auto count_of = [](const std::vector<BenchCall>& calls, std::size_t shape) {
    int sum = 0;
    for (const BenchCall& call : calls) sum += call.counts[shape];
    return sum;
  };
  const auto one = bench_calls({{"resnet8", 4}}, DType::f32, {"conv2d"}, 1e6),
             two = bench_calls({{"resnet8", 4}, {"resnet14", 4}}, DType::f32, {"conv2d"}, 1e6);
  CHECK(two.size() <= one.size() + 3);
  CHECK(count_of(one, 0) == count_of(two, 0));
  CHECK(count_of(two, 1) == count_of(two, 0) + 3 * 6);  // six convolutions more, three passes each
}

TEST_CASE("the calls of a step are those that a training makes", "[bench]") {
  for (const char* name : {"resnet8", "rezero-resnet14", "rezero-resnet18"})
    for (const ShortcutKind shortcut : {ShortcutKind::a, ShortcutKind::b}) {
      INFO(name);
      ResNetConfig config = resnet_config(name);
      config.shortcut = shortcut;
      Context context({DeviceKind::cpu, 0});
      ResNet network(config);
      network.store().materialise(context, 0);
      const PictureSet pictures{Tensor::zeros(context, {4, 32, 32, 3}, DType::u8),
                                Tensor::zeros(context, {4}, DType::i32), 10};
      TrainerConfig training;
      training.batch_size = 2;
      Trainer trainer(context, network, pictures, training,
                      [](std::uint32_t epoch) { return epoch_order(0, epoch, 4); });
      Counter counter;
      trainer.step();
      // The batch and the update are no layers.
      std::erase_if(counter.counts, [](const auto& counted) {
        return counted.first.ends_with("_step") || counted.first.starts_with("augment") ||
               counted.first.starts_with("gradient_norm") || counted.first.starts_with("step_guard");
      });
      std::map<std::string, int> expected;
      for (const StepCall& made : step_calls(config, 2, DType::f32))
        if (made.count > 0) expected[function_of(made.call)] += made.count;
      CHECK(counter.counts == expected);
    }
}

TEST_CASE("operands rotate through memory of their own, and are made new", "[bench]") {
  Context context({DeviceKind::cpu, 0});
  const std::vector<check::KernelCase> cases = check::cases_of(Conv2dParams{2, 4, 4, 3, 5, 3, 3, 1, 1});
  const auto call = std::find_if(cases.begin(), cases.end(), [](const auto& c) { return c.accumulates; });
  REQUIRE(call != cases.end());
  const check::Values values = check::draw_operands(*call, DType::f32);
  ReusedMemory memory(context);
  Rotation rotation(context, memory, *call, DType::f32, values, 20000);
  CHECK(rotation.bytes() >= 20000);
  REQUIRE(rotation.sets() > 2);
  const auto first_of = [&](std::size_t set, std::size_t operand) {
    return static_cast<float*>(rotation.operands(set)[operand].data);
  };
  for (std::size_t operand = 0; operand < 3; ++operand) {
    CHECK(first_of(0, operand) != first_of(1, operand));
    CHECK(first_of(0, operand) == first_of(rotation.sets(), operand));
    for (std::size_t set = 0; set < rotation.sets(); ++set)
      CHECK(first_of(set, operand)[7] == static_cast<float>(values[operand][7]));
  }
  first_of(1, 2)[7] = 42.0f;  // dx, which is added to
  rotation.refresh();
  CHECK(first_of(1, 2)[7] == static_cast<float>(values[2][7]));
  CHECK(Rotation(context, memory, *call, DType::f32, values, 0).sets() == 1);
  CHECK(memory.at_least(1) == memory.at_least(20000));
}

TEST_CASE("a spread is the median and the quartiles", "[bench]") {
  const Spread odd = spread_of({5, 1, 3, 2, 4}), even = spread_of({4, 1, 2, 3}), one = spread_of({7});
  CHECK(odd.median == 3.0);
  CHECK(odd.low == 2.0);
  CHECK(odd.high == 4.0);
  CHECK(even.median == 2.5);
  CHECK(even.low == 1.75);
  CHECK(one.low == 7.0);
  CHECK(one.high == 7.0);
}

TEST_CASE("the floor of a step grows with its batch and falls with the ceilings", "[bench]") {
  const ResNetConfig config = resnet_config("resnet8");
  const StepFloor small = floor_of(config, 8, DType::f32, 1000, OptimizerKind::sgd, {1e10, 1e11}),
                  large = floor_of(config, 16, DType::f32, 1000, OptimizerKind::sgd, {1e10, 1e11}),
                  quick_memory = floor_of(config, 8, DType::f32, 1000, OptimizerKind::sgd, {1e20, 1e11}),
                  half = floor_of(config, 8, DType::bf16, 1000, OptimizerKind::sgd, {1e10, 1e11});
  CHECK(large.flops > 1.99 * small.flops);
  CHECK(large.bytes > 1.9 * small.bytes);
  CHECK(small.memory_ms <= small.roofline_ms);
  CHECK(std::abs(small.memory_ms - 1e3 * small.bytes / 1e10) < 1e-9 * small.memory_ms);
  CHECK(std::abs(quick_memory.roofline_ms - 1e3 * small.flops / 1e11) < 1e-6 * quick_memory.roofline_ms);
  CHECK(half.bytes < 0.6 * small.bytes);
}
