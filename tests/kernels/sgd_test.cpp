#include "kernels/sgd/sgd.h"

#include "tests/kernels/rows.h"

using namespace zeroth;
using namespace zeroth::testing;

namespace {

struct Case {
  std::int64_t segments;
  double momentum;
  bool nesterov;
  DType working = DType::f32;
};

// One segment, a few, and enough for several blocks and for more threads than one.
const Case kCases[] = {{0, 0.9, false},
                       {1, 0.0, false},
                       {1, 0.9, false},
                       {5, 0.9, true},
                       {7, 0.0, false},
                       {1031, 0.0, false},
                       {1031, 0.9, false},
                       {1031, 0.5, true},
                       {0, 0.9, false, DType::bf16},
                       {5, 0.0, false, DType::f16},
                       {7, 0.9, true, DType::f16},
                       {1031, 0.9, false, DType::bf16}};

constexpr std::int64_t kGroups = 3;

SgdParams params_of(const Case& test, DType dtype) {
  return {
      {test.segments * kParameterSegment, kGroups, dtype, test.working == DType::f32 ? dtype : test.working},
      test.momentum,
      test.nesterov};
}

/// The operands of a step. In mixed precision every third segment or so is a working one.
struct Step {
  SgdParams params;
  Operand weights, gradients, buffer, groups, rates, working_weights, working_gradients;

  Step(Context& context, const SgdParams& problem)
      : params(problem),
        weights(context, params.dtype, {params.elements}, random(-1.0, 1.0, 1)),
        gradients(context, params.dtype, {params.elements}, random(-2.0, 2.0, 2)),
        buffer(context, params.dtype, {params.elements}, random(-3.0, 3.0, 3)),
        groups(context, DType::u8, {params.elements / kParameterSegment}, random_groups()),
        rates(context, params.dtype, {kGroups, 2}, rate_values()),
        working_weights(context, params.working, {params.elements}, random(-9.0, 9.0, 4)),
        working_gradients(context, params.working, {params.elements}, random(-2.0, 2.0, 5)) {}

  std::vector<double> random(double low, double high, std::uint64_t seed) const {
    return random_values(params.elements, DType::f32, low, high, seed);
  }
  std::vector<double> random_groups() const {
    std::vector<double> result(static_cast<std::size_t>(params.elements / kParameterSegment));
    for (std::size_t i = 0; i < result.size(); ++i)
      result[i] = uniform_below(philox(9, 0, i, RandomUse::test).word[0], kGroups) +
                  (params.mixed() && i % 3 == 1 ? kWorkingSegment : 0);
    return result;
  }
  static std::vector<double> rate_values() {
    return {rounded(DType::f32, 0.1), rounded(DType::f32, 1e-4), 0.5, 0.25, rounded(DType::f32, 0.01), 0.0};
  }
  void run(Context& context, const SgdRow& row) const {
    row.step(context, params, operands(), params.momentum == 0.0 ? TensorView() : buffer.view());
  }
  FlatParameters operands() const {
    FlatParameters result{weights, gradients, groups, rates};
    if (params.mixed()) {
      result.working_weights = working_weights;
      result.working_gradients = working_gradients;
    }
    return result;
  }
  bool intact() const {
    return weights.intact() && gradients.intact() && buffer.intact() && groups.intact() && rates.intact() &&
           working_weights.intact() && working_gradients.intact();
  }
};

}  // namespace

// Three steps of torch.optim.SGD (PyTorch 1.13, float64), lr 0.1 and weight decay 0.05 throughout.
TEST_CASE("sgd agrees with PyTorch", "[kernels][sgd]") {
  struct Golden {
    double momentum;
    bool nesterov;
    std::vector<double> weights, buffer;
  };
  const Golden goldens[] = {{0.0, false, {0.94497462500000007, -2.08009925, 0.4931366875}, {}},
                            {0.9,
                             false,
                             {0.95095962499999998, -2.0650692500000001, 0.38160418749999997},
                             {0.55615375, 0.81919249999999999, -0.056916874999999978}},
                            {0.9,
                             true,
                             {0.90090302787499998, -2.1390475557499999, 0.3879034770625},
                             {0.55652353749999994, 0.81980292499999996, -0.062340668749999995}}};
  const std::vector<std::vector<double>> gradients = {{0.1, -0.2, 0.3}, {-0.4, 0.5, 0.6}, {0.7, 0.8, -0.9}};
  const auto segment = [](std::vector<double> values) {
    values.resize(kParameterSegment, 0.0);
    return values;
  };
  for (const Golden& golden : goldens)
    for_each_row(sgd_rows(), [&](Context& context, const SgdRow& row) {
      for (const DType dtype : {DType::f64, DType::f32}) {
        const SgdParams params{{kParameterSegment, 1, dtype, dtype}, golden.momentum, golden.nesterov};
        if (!row.supports(params)) continue;
        const Operand weights(context, dtype, {kParameterSegment}, segment({1.0, -2.0, 0.5}));
        const Operand buffer(context, dtype, {kParameterSegment}, segment({}));
        const Operand groups(context, DType::u8, {1}, {0}), rates(context, dtype, {1, 2}, {0.1, 0.05});
        for (const auto& values : gradients) {
          const Operand gradient(context, dtype, {kParameterSegment}, segment(values));
          row.step(context, params, {weights, gradient, groups, rates},
                   golden.momentum == 0.0 ? TensorView() : buffer.view());
        }
        // Three steps of at most ten roundings each, on values below 4; gaps of zeros stay zero.
        const auto bound = [&](std::size_t i) { return i < 3 ? 30 * 4 * unit_roundoff(dtype) : 0.0; };
        check_close(weights.values(), segment(golden.weights), bound);
        if (golden.momentum != 0.0) check_close(buffer.values(), segment(golden.buffer), bound);
      }
    });
}

TEST_CASE("every sgd row agrees with the reference", "[kernels][sgd]") {
  for (const Case& test : kCases) {
    Context host({DeviceKind::cpu, 0});
    const Step exact(host, params_of(test, DType::f64));
    const std::vector<double> w = exact.weights.values(), gradient = exact.gradients.values(),
                              b = exact.buffer.values(), group = exact.groups.values(),
                              rates = exact.rates.values(), narrow = exact.working_weights.values(),
                              narrow_gradient = exact.working_gradients.values();
    const auto byte = [&](std::size_t i) { return static_cast<int>(group[i / kParameterSegment]); };
    const auto rate_of = [&](std::size_t i, int which) {
      return rates[static_cast<std::size_t>(2 * (byte(i) & ~kWorkingSegment) + which)];
    };
    exact.run(host, reference::sgd_row);
    CHECK(exact.intact());
    for_each_row(sgd_rows(), [&](Context& context, const SgdRow& row) {
      const SgdParams params = params_of(test, DType::f32);
      INFO(params.to_string());
      REQUIRE(row.supports(params));
      const Step step(context, params);
      step.run(context, row);
      CHECK(step.intact());
      // Sizes of what each value is summed from; none goes through more than ten roundings.
      const double u = 10 * unit_roundoff(DType::f32);
      const auto g_size = [&](std::size_t i) {
        const double g = byte(i) & kWorkingSegment ? narrow_gradient[i] : gradient[i];
        return std::fabs(g) + rate_of(i, 1) * std::fabs(w[i]);
      };
      const auto b_size = [&](std::size_t i) { return test.momentum * std::fabs(b[i]) + g_size(i); };
      const auto w_bound = [&](std::size_t i) {
        const double move = test.momentum == 0.0 ? g_size(i) : b_size(i) + (test.nesterov ? g_size(i) : 0.0);
        return u * (std::fabs(w[i]) + rate_of(i, 0) * move);
      };
      check_close(step.weights.values(), exact.weights.values(), w_bound);
      check_close(step.buffer.values(), exact.buffer.values(), [&](std::size_t i) { return u * b_size(i); });
      if (!params.mixed()) return;
      // A working segment is its row's own weights, rounded; the others are left alone.
      std::vector<double> expected = step.weights.values();
      for (std::size_t i = 0; i < expected.size(); ++i)
        expected[i] = byte(i) & kWorkingSegment ? rounded(params.working, expected[i]) : narrow[i];
      CHECK(step.working_weights.values() == expected);
    });
  }
}

TEST_CASE("every sgd row gives the same bits again", "[kernels][sgd]") {
  for_each_row(sgd_rows(), [](Context& context, const SgdRow& row) {
    check_same_bits(row, [&] {
      const Step step(context, {{37 * kParameterSegment, kGroups, DType::f32, DType::bf16}, 0.9, true});
      step.run(context, row);
      std::vector<std::byte> bytes = step.weights.bytes();
      for (const Operand* operand : {&step.buffer, &step.working_weights}) {
        const std::vector<std::byte> more = operand->bytes();
        bytes.insert(bytes.end(), more.begin(), more.end());
      }
      return bytes;
    });
  });
}

TEST_CASE("the gradient factor multiplies gradients before all else", "[kernels][sgd]") {
  for_each_row(sgd_rows(), [](Context& context, const SgdRow& row) {
    for (const DType working : {DType::f32, DType::bf16}) {
      // Times 1/8 is exact in bf16 and f32, so the bits are those of smaller gradients.
      const SgdParams params{{37 * kParameterSegment, kGroups, DType::f32, working}, 0.9, true};
      const Step scaled(context, params);
      std::vector<double> small = scaled.gradients.values(), narrow = scaled.working_gradients.values();
      for (double& value : small) value /= 8.0;
      for (double& value : narrow) value /= 8.0;
      const Step expected(context, params);
      const Operand gradients(context, DType::f32, {params.elements}, small),
          working_gradients(context, working, {params.elements}, narrow),
          factor(context, DType::f32, {1}, {0.125});
      FlatParameters operands = expected.operands();
      operands.gradients = gradients;
      if (params.mixed()) operands.working_gradients = working_gradients;
      row.step(context, params, operands, expected.buffer);
      operands = scaled.operands();
      operands.gradient_factor = factor;
      row.step(context, params, operands, scaled.buffer);
      CHECK(scaled.weights.bytes() == expected.weights.bytes());
      CHECK(scaled.buffer.bytes() == expected.buffer.bytes());
      CHECK(scaled.working_weights.bytes() == expected.working_weights.bytes());
      CHECK(factor.intact());
    }
  });
}

TEST_CASE("a negative gradient factor skips the sgd step", "[kernels][sgd]") {
  for_each_row(sgd_rows(), [](Context& context, const SgdRow& row) {
    for (const double momentum : {0.0, 0.9}) {
      const SgdParams params{{1031 * kParameterSegment, kGroups, DType::f32, DType::bf16}, momentum, false};
      const Step before(context, params), step(context, params);
      const Operand factor(context, DType::f32, {1}, {-1.0});
      FlatParameters operands = step.operands();
      operands.gradient_factor = factor;
      row.step(context, params, operands, momentum == 0.0 ? TensorView() : step.buffer.view());
      CHECK(step.weights.bytes() == before.weights.bytes());
      CHECK(step.buffer.bytes() == before.buffer.bytes());
      CHECK(step.working_weights.bytes() == before.working_weights.bytes());
    }
  });
}

TEST_CASE("sgd passes over the group that is left out", "[kernels][sgd]") {
  for_each_row(sgd_rows(), [](Context& context, const SgdRow& row) {
    for (const double momentum : {0.0, 0.9}) {
      SgdParams params{{1031 * kParameterSegment, kGroups, DType::f32, DType::bf16}, momentum, false};
      const Step before(context, params), whole(context, params), step(context, params);
      whole.run(context, row);
      params.left_out = 1;
      row.step(context, params, step.operands(), momentum == 0.0 ? TensorView() : step.buffer.view());
      const std::vector<double> groups = step.groups.values();
      const auto expected = [&](const Operand& updated, const Operand& old) {
        std::vector<double> values = updated.values(), kept = old.values();
        for (std::size_t i = 0; i < values.size(); ++i)
          if ((static_cast<int>(groups[i / kParameterSegment]) & ~kWorkingSegment) == 1) values[i] = kept[i];
        return values;
      };
      CHECK(step.weights.values() == expected(whole.weights, before.weights));
      CHECK(step.buffer.values() == expected(whole.buffer, before.buffer));
      CHECK(step.working_weights.values() == expected(whole.working_weights, before.working_weights));
    }
  });
}

TEST_CASE("sgd refuses bad arguments", "[kernels][sgd]") {
  Context context({DeviceKind::cpu, 0});
  const SgdParams good{{2 * kParameterSegment, kGroups}, 0.9, false};
  const Step step(context, good);
  const auto call = [&](const SgdParams& params, TensorView buffer) {
    return [&context, &step, params, buffer] { sgd_step(context, params, step.operands(), buffer); };
  };
  SgdParams bad = good;
  bad.elements = 100;
  check_usage_error(call(bad, step.buffer), "sgd: 100 elements are not whole segments of 64");
  bad = good;
  bad.groups = 0;
  check_usage_error(call(bad, step.buffer), "sgd: 0 parameter groups, expected 1 to 128");
  bad = good;
  bad.momentum = 1.0;
  check_usage_error(call(bad, step.buffer), "sgd: momentum is 1, expected 0 <= momentum < 1");
  bad.momentum = std::numeric_limits<double>::quiet_NaN();
  check_usage_error(call(bad, step.buffer), "sgd: momentum is nan, expected 0 <= momentum < 1");
  bad.momentum = 0.0;
  bad.nesterov = true;
  check_usage_error(call(bad, step.buffer), "sgd: nesterov needs a momentum above 0");
  check_usage_error(call(good, TensorView()), "sgd: momentum_buffer is missing");
  check_usage_error(call(good, step.rates), "sgd: momentum_buffer has shape (3, 2), expected (128)");
  bad = good;
  bad.dtype = DType::bf16;
  check_usage_error(call(bad, step.buffer), "sgd: working weights in f32, expected bf16 or f16");
  bad = good;
  bad.working = DType::bf16;
  check_usage_error(call(bad, step.buffer), "sgd: working_weights is missing");
}
