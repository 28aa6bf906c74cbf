#include "kernels/adamw/adamw.h"

#include "tests/kernels/rows.h"

using namespace zeroth;
using namespace zeroth::testing;

namespace {

struct Case {
  std::int64_t segments;
  std::int32_t step;
  bool decoupled;
  double beta1 = 0.9, beta2 = 0.999;
  DType working = DType::f32;
};

const Case kCases[] = {{0, 1, true},
                       {1, 1, true},
                       {1, 1, false},
                       {3, 2, true},
                       {5, 1000, false},
                       {1031, 7, true},
                       {1031, 3, false},
                       {2, 2000000, true},
                       {2, 3, true, 0.0, 0.0},
                       {5, 4, true, 0.9, 0.999, DType::f16},
                       {1031, 9, false, 0.9, 0.999, DType::bf16}};

constexpr std::int64_t kGroups = 3;

AdamwParams params_of(const Case& test, DType dtype) {
  return {
      {test.segments * kParameterSegment, kGroups, dtype, test.working == DType::f32 ? dtype : test.working},
      test.beta1,
      test.beta2,
      1e-8,
      test.decoupled};
}

/// The operands of a step. Before the first step the moments are zero; in mixed precision every third segment
/// or so is a working one.
struct Step {
  AdamwParams params;
  Operand weights, gradients, m, v, groups, rates, number, working_weights, working_gradients;

  Step(Context& context, const AdamwParams& problem, std::int32_t step)
      : params(problem),
        weights(context, params.dtype, {params.elements}, random(-1.0, 1.0, 1)),
        gradients(context, params.dtype, {params.elements}, random(-2.0, 2.0, 2)),
        m(context, params.dtype, {params.elements}, random(step == 1 ? 0.0 : -1.0, step == 1 ? 0.0 : 1.0, 3)),
        v(context, params.dtype, {params.elements}, random(0.0, step == 1 ? 0.0 : 1.0, 4)),
        groups(context, DType::u8, {params.elements / kParameterSegment}, random_groups()),
        rates(context, params.dtype, {kGroups, 2}, rate_values()),
        number(context, DType::i32, {1}, {static_cast<double>(step)}),
        working_weights(context, params.working, {params.elements}, random(-9.0, 9.0, 5)),
        working_gradients(context, params.working, {params.elements}, random(-2.0, 2.0, 6)) {}

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
  void run(Context& context, const AdamwRow& row) const {
    row.step(context, params, operands(), m, v, number);
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
    return weights.intact() && gradients.intact() && m.intact() && v.intact() && groups.intact() &&
           rates.intact() && number.intact() && working_weights.intact() && working_gradients.intact();
  }
};

/// How far f32 arithmetic may be from exact, element by element: first-order error propagation through the
/// formula, with as many roundings as the longest way of evaluating it has.
struct Bounds {
  const AdamwParams& params;
  std::vector<double> w, gradient, m, v, group, rates, narrow, narrow_gradient;
  double correction1, correction2;

  Bounds(const Step& step, std::int32_t number)
      : params(step.params),
        w(step.weights.values()),
        gradient(step.gradients.values()),
        m(step.m.values()),
        v(step.v.values()),
        group(step.groups.values()),
        rates(step.rates.values()),
        narrow(step.working_weights.values()),
        narrow_gradient(step.working_gradients.values()),
        correction1(1.0 - std::pow(params.beta1, number)),
        correction2(1.0 - std::pow(params.beta2, number)) {}

  static constexpr double u = 0x1p-24;
  int byte(std::size_t i) const { return static_cast<int>(group[i / kParameterSegment]); }
  bool working(std::size_t i) const { return params.mixed() && byte(i) & kWorkingSegment; }
  double rate(std::size_t i, int which) const {
    return rates[static_cast<std::size_t>(2 * (byte(i) & ~kWorkingSegment) + which)];
  }
  double g_size(std::size_t i) const {
    return std::fabs(working(i) ? narrow_gradient[i] : gradient[i]) +
           (params.decoupled ? 0.0 : rate(i, 1) * std::fabs(w[i]));
  }
  double m_size(std::size_t i) const {
    return params.beta1 * std::fabs(m[i]) + (1.0 - params.beta1) * g_size(i);
  }
  double m_error(std::size_t i) const { return 6 * u * m_size(i); }
  double v_error(std::size_t i) const {
    return 8 * u * (params.beta2 * v[i] + (1.0 - params.beta2) * g_size(i) * g_size(i));
  }
  /// `new_v`: the exact second moment after the step.
  double w_error(std::size_t i, double new_v) const {
    const double denominator = std::sqrt(new_v / correction2) + params.eps;
    const double root_error = new_v == 0.0 ? 0.0 : v_error(i) / (2 * std::sqrt(new_v * correction2));
    const double step_size = rate(i, 0) / correction1;
    const double update = step_size * m_size(i) / denominator;
    const double update_error =
        step_size * m_error(i) / denominator + update * root_error / denominator + 10 * u * update;
    return update_error + 4 * u * (std::fabs(w[i]) * (1.0 + rate(i, 0) * rate(i, 1)) + update);
  }
};

}  // namespace

// Three steps of torch.optim.Adam and AdamW (PyTorch 1.13, float64), lr 0.1, weight decay 0.05.
TEST_CASE("adamw agrees with PyTorch", "[kernels][adamw]") {
  struct Golden {
    bool decoupled;
    std::vector<double> weights, m, v;
  };
  const Golden goldens[] = {{false,
                             {0.90074992948618904, -1.9808560761037863, 0.30659031876193515},
                             {0.054912411835618555, 0.082550322895840841, -0.006360057619566711},
                             {0.00070654844504480405, 0.0007493016114602022, 0.0012723899982544193}},
                            {true,
                             {0.90863417620980025, -1.987231630203794, 0.30415923271028927},
                             {0.042099999999999985, 0.10879999999999998, -0.011700000000000002},
                             {0.00065982001000000048, 0.00092967004000000088, 0.0012594600900000012}}};
  const std::vector<std::vector<double>> gradients = {{0.1, -0.2, 0.3}, {-0.4, 0.5, 0.6}, {0.7, 0.8, -0.9}};
  const auto segment = [](std::vector<double> values) {
    values.resize(kParameterSegment, 0.0);
    return values;
  };
  for (const Golden& golden : goldens)
    for_each_row(adamw_rows(), [&](Context& context, const AdamwRow& row) {
      for (const DType dtype : {DType::f64, DType::f32}) {
        const AdamwParams params{{kParameterSegment, 1, dtype, dtype}, 0.9, 0.999, 1e-8, golden.decoupled};
        if (!row.supports(params)) continue;
        const Operand weights(context, dtype, {kParameterSegment}, segment({1.0, -2.0, 0.5}));
        const Operand m(context, dtype, {kParameterSegment}, segment({}));
        const Operand v(context, dtype, {kParameterSegment}, segment({}));
        const Operand groups(context, DType::u8, {1}, {0}), rates(context, dtype, {1, 2}, {0.1, 0.05});
        for (std::size_t t = 0; t < gradients.size(); ++t) {
          const Operand gradient(context, dtype, {kParameterSegment}, segment(gradients[t]));
          const Operand number(context, DType::i32, {1}, {static_cast<double>(t + 1)});
          row.step(context, params, {weights, gradient, groups, rates}, m, v, number);
        }
        // Three steps of at most twenty roundings each on values below 4 (m below 1, v below 1/100); the bias
        // correction 1 - 0.999^t is itself good to 1e-13. Gaps of zeros stay zero.
        const double u = unit_roundoff(dtype);
        const auto within = [](double bound) { return [=](std::size_t i) { return i < 3 ? bound : 0.0; }; };
        check_close(weights.values(), segment(golden.weights), within(60 * 4 * u + 1e-13));
        check_close(m.values(), segment(golden.m), within(60 * u));
        check_close(v.values(), segment(golden.v), within(60 * 0.01 * u));
      }
    });
}

TEST_CASE("every adamw row agrees with the reference", "[kernels][adamw]") {
  for (const Case& test : kCases) {
    Context host({DeviceKind::cpu, 0});
    const Step exact(host, params_of(test, DType::f64), test.step);
    const Bounds bounds(exact, test.step);
    exact.run(host, reference::adamw_row);
    CHECK(exact.intact());
    const std::vector<double> new_v = exact.v.values();
    for_each_row(adamw_rows(), [&](Context& context, const AdamwRow& row) {
      const AdamwParams params = params_of(test, DType::f32);
      INFO(params.to_string() << ", step " << test.step);
      REQUIRE(row.supports(params));
      const Step step(context, params, test.step);
      step.run(context, row);
      CHECK(step.intact());
      check_close(step.m.values(), exact.m.values(), [&](std::size_t i) { return bounds.m_error(i); });
      check_close(step.v.values(), new_v, [&](std::size_t i) { return bounds.v_error(i); });
      check_close(step.weights.values(), exact.weights.values(),
                  [&](std::size_t i) { return bounds.w_error(i, new_v[i]); });
      if (!params.mixed()) return;
      // A working segment is its row's own weights, rounded; the others are left alone.
      std::vector<double> expected = step.weights.values();
      for (std::size_t i = 0; i < expected.size(); ++i)
        expected[i] = bounds.working(i) ? rounded(params.working, expected[i]) : bounds.narrow[i];
      CHECK(step.working_weights.values() == expected);
    });
  }
}

TEST_CASE("every adamw row gives the same bits again", "[kernels][adamw]") {
  for_each_row(adamw_rows(), [](Context& context, const AdamwRow& row) {
    check_same_bits(row, [&] {
      const Step step(context, {{37 * kParameterSegment, kGroups, DType::f32, DType::bf16}}, 5);
      step.run(context, row);
      std::vector<std::byte> bytes = step.weights.bytes();
      for (const Operand* operand : {&step.m, &step.v, &step.working_weights}) {
        const std::vector<std::byte> more = operand->bytes();
        bytes.insert(bytes.end(), more.begin(), more.end());
      }
      return bytes;
    });
  });
}

TEST_CASE("adamw multiplies gradients by their factor, and a negative one skips the step", "[kernels][adamw]") {
  for_each_row(adamw_rows(), [](Context& context, const AdamwRow& row) {
    for (const bool decoupled : {false, true}) {
      const AdamwParams params{
          {1031 * kParameterSegment, kGroups, DType::f32, DType::bf16}, 0.9, 0.999, 1e-8, decoupled};
      const Step before(context, params, 3), step(context, params, 3), expected(context, params, 3);
      const auto same_bits = [](const Step& a, const Step& b) {
        return a.weights.bytes() == b.weights.bytes() && a.m.bytes() == b.m.bytes() &&
               a.v.bytes() == b.v.bytes() && a.working_weights.bytes() == b.working_weights.bytes();
      };
      FlatParameters operands = step.operands();
      const Operand skip(context, DType::f32, {1}, {-1.0});
      operands.gradient_factor = skip;
      row.step(context, params, operands, step.m, step.v, step.number);
      CHECK(same_bits(step, before));

      // Times 1/8 is exact in bf16 and f32, so the bits are those of smaller gradients.
      const Operand eighth(context, DType::f32, {1}, {0.125});
      operands.gradient_factor = eighth;
      row.step(context, params, operands, step.m, step.v, step.number);
      std::vector<double> small = step.gradients.values(), narrow = step.working_gradients.values();
      for (double& value : small) value /= 8.0;
      for (double& value : narrow) value /= 8.0;
      const Operand gradients(context, DType::f32, {params.elements}, small),
          working_gradients(context, DType::bf16, {params.elements}, narrow);
      operands = expected.operands();
      operands.gradients = gradients;
      operands.working_gradients = working_gradients;
      row.step(context, params, operands, expected.m, expected.v, expected.number);
      CHECK(same_bits(step, expected));
    }
  });
}

TEST_CASE("adamw refuses bad arguments", "[kernels][adamw]") {
  Context context({DeviceKind::cpu, 0});
  const AdamwParams good{{2 * kParameterSegment, kGroups}};
  const Step step(context, good, 1);
  const auto call = [&](const AdamwParams& params, TensorView v, ConstTensorView number) {
    return [&context, &step, params, v, number] {
      adamw_step(context, params, step.operands(), step.m, v, number);
    };
  };
  AdamwParams bad = good;
  bad.elements = 65;
  check_usage_error(call(bad, step.v, step.number), "adamw: 65 elements are not whole segments of 64");
  bad = good;
  bad.groups = 257;
  check_usage_error(call(bad, step.v, step.number), "adamw: 257 parameter groups, expected 1 to 128");
  bad = good;
  bad.beta2 = 1.0;
  check_usage_error(call(bad, step.v, step.number), "adamw: the betas are 0.9 and 1, expected 0 <= beta < 1");
  bad = good;
  bad.eps = 0.0;
  check_usage_error(call(bad, step.v, step.number), "adamw: eps is 0, expected > 0");
  check_usage_error(call(good, TensorView(), step.number), "adamw: v is missing");
  check_usage_error(call(good, step.v, step.groups), "adamw: step has shape (2), expected (1)");
}
