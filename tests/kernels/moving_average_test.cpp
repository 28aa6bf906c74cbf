#include "kernels/moving_average/moving_average.h"

#include "tests/kernels/rows.h"

using namespace zeroth;
using namespace zeroth::testing;

namespace {

struct Case {
  std::int64_t segments;
  std::int64_t every;
  std::int32_t updates;
  bool warm_up, write_back;
  double share, factor;
  DType working = DType::f32;
};

const Case kCases[] = {{0, 1, 1, false, false, 0.25, 1.0},
                       {1, 1, 1, false, false, 0.25, 1.0},
                       {1031, 1, 7, false, false, 0.001, 0.5},
                       {5, 5, 15, false, true, 0.5, 1.0},
                       {5, 5, 16, false, true, 0.5, 1.0},   // between two steps that count
                       {5, 1, 3, true, false, 0.001, 1.0},  // the warm-up decides: 9 / 12
                       {5, 1, 100000, true, false, 0.001, 1.0},
                       {5, 1, 1, false, true, 0.0, 1.0},  // only written back
                       {5, 1, 1, false, true, 1.0, 1.0},
                       {5, 1, 4, true, true, 0.5, -1.0},  // skipped
                       {1031, 3, 6, false, true, 0.5, 1.0, DType::bf16},
                       {7, 1, 6, false, true, 0.125, 1.0, DType::f16},
                       {7, 1, 6, false, false, 0.125, 1.0, DType::bf16},
                       {7, 4, 6, false, true, 0.125, 1.0, DType::bf16}};

MovingAverageParams params_of(const Case& test, DType dtype) {
  return {test.segments * kParameterSegment,
          dtype,
          test.working == DType::f32 ? dtype : test.working,
          test.every,
          test.warm_up,
          test.write_back};
}

struct Step {
  MovingAverageParams params;
  Operand values, average, share, updates, factor, groups, working;

  Step(Context& context, const Case& test, DType dtype)
      : params(params_of(test, dtype)),
        values(context, dtype, {params.elements}, random(1)),
        average(context, dtype, {params.elements}, random(2)),
        share(context, dtype, {1}, {rounded(DType::f32, test.share)}),
        updates(context, DType::i32, {1}, {static_cast<double>(test.updates)}),
        factor(context, dtype, {1}, {test.factor}),
        groups(context, DType::u8, {test.segments}, bytes()),
        working(context, params.working, {params.elements}, random(3)) {}

  std::vector<double> random(std::uint64_t seed) const {
    return random_values(params.elements, DType::bf16, -1.0, 1.0, seed);
  }
  std::vector<double> bytes() const {
    std::vector<double> result(static_cast<std::size_t>(params.elements / kParameterSegment));
    for (std::size_t i = 0; i < result.size(); ++i)
      result[i] = static_cast<double>(i % 4) + (i % 3 == 1 ? kWorkingSegment : 0);
    return result;
  }
  MovingAverageOperands operands() const {
    MovingAverageOperands result{values, average, share, updates, factor};
    if (params.mixed()) {
      result.group_of_segment = groups;
      result.working_weights = working;
    }
    return result;
  }
  const Step& run(Context& context, const MovingAverageRow& row) const {
    row.step(context, params, operands());
    return *this;
  }
  bool intact() const {
    return values.intact() && average.intact() && share.intact() && updates.intact() && factor.intact() &&
           groups.intact() && working.intact();
  }
  std::vector<std::byte> written() const {
    std::vector<std::byte> all = values.bytes();
    for (const Operand* operand : {&average, &working}) {
      const std::vector<std::byte> more = operand->bytes();
      all.insert(all.end(), more.begin(), more.end());
    }
    return all;
  }
};

}  // namespace

TEST_CASE("every moving_average row agrees with the formula", "[kernels][moving_average]") {
  for (const Case& test : kCases)
    for_each_row(moving_average_rows(), [&](Context& context, const MovingAverageRow& row) {
      for (const DType dtype : {DType::f64, DType::f32}) {
        const Step before(context, test, dtype), step(context, test, dtype);
        if (!row.supports(step.params)) continue;
        INFO(step.params.to_string() << ", update " << test.updates);
        step.run(context, row);
        CHECK(step.intact());
        const bool counts = test.factor >= 0.0 && test.updates % test.every == 0;
        double share = rounded(DType::f32, test.share);
        if (test.warm_up) share = std::max(share, 9.0 / (9.0 + test.updates));
        if (!counts) share = 0.0;
        std::vector<double> average = before.average.values(), values = before.values.values();
        for (std::size_t i = 0; i < average.size(); ++i) average[i] += share * (values[i] - average[i]);
        // A difference, a product and a sum of numbers below 2; the warm-up's share has two roundings more.
        const double bound = counts && share > 0.0 ? 8 * unit_roundoff(dtype) : 0.0;
        check_close(step.average.values(), average, [&](std::size_t) { return bound; });
        const bool written = counts && test.write_back;
        CHECK(step.values.values() == (written ? step.average.values() : values));
        std::vector<double> narrow = before.working.values(), wide = step.values.values();
        for (std::size_t i = 0; i < narrow.size(); ++i)
          if (written && step.params.mixed() && i / kParameterSegment % 3 == 1)
            narrow[i] = rounded(test.working, wide[i]);
        CHECK(step.working.values() == narrow);
      }
    });
}

TEST_CASE("every moving_average row gives the same bits again", "[kernels][moving_average]") {
  const Case test{37, 1, 5, true, true, 0.5, 1.0, DType::bf16};
  for_each_row(moving_average_rows(), [&](Context& context, const MovingAverageRow& row) {
    check_same_bits(row, [&] { return Step(context, test, DType::f32).run(context, row).written(); });
  });
}

TEST_CASE("a share of 0 keeps the average's bits, whatever the values are", "[kernels][moving_average]") {
  const Case test{3, 1, 5, false, true, 0.0, 1.0};
  for_each_row(moving_average_rows(), [&](Context& context, const MovingAverageRow& row) {
    const Step step(context, test, DType::f32);
    const Operand infinite(context, DType::f32, {step.params.elements},
                           std::vector<double>(static_cast<std::size_t>(step.params.elements),
                                               std::numeric_limits<double>::infinity()));
    MovingAverageOperands operands = step.operands();
    operands.values = infinite;
    operands.updates = {};
    operands.gradient_factor = {};
    row.step(context, step.params, operands);
    CHECK(step.average.values() == Step(context, test, DType::f32).average.values());
    CHECK(infinite.values() == step.average.values());
  });
}

TEST_CASE("moving_average refuses bad arguments", "[kernels][moving_average]") {
  Context context({DeviceKind::cpu, 0});
  const Step step(context, {2, 1, 5, true, true, 0.5, 1.0, DType::bf16}, DType::f32);
  const auto call = [&](const MovingAverageParams& params, const MovingAverageOperands& operands) {
    return [&context, params, operands] { moving_average_step(context, params, operands); };
  };
  MovingAverageParams bad = step.params;
  bad.elements = 65;
  check_usage_error(call(bad, step.operands()), "moving_average: 65 elements are not whole segments of 64");
  bad = step.params;
  bad.every = 0;
  check_usage_error(call(bad, step.operands()), "moving_average: every 0 steps, expected at least 1");
  MovingAverageOperands operands = step.operands();
  operands.updates = {};
  check_usage_error(call(step.params, operands), "moving_average: updates is missing");
  operands = step.operands();
  operands.working_weights = {};
  check_usage_error(call(step.params, operands), "moving_average: working_weights is missing");
  operands = step.operands();
  operands.share = step.values;
  check_usage_error(call(step.params, operands), "moving_average: share has shape (128), expected (1)");
}
