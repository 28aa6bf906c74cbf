#include "kernels/step_guard/step_guard.h"

#include "kernels/gradient_norm/gradient_norm.h"
#include "tests/kernels/rows.h"

using namespace zeroth;
using namespace zeroth::testing;

namespace {

/// A guard's memory, and what a step brings.
struct Guard {
  Context& context;
  const StepGuardRow& row;
  StepGuardParams params;
  Operand loss_scale, factor, counters, report, state, state_before, metrics, metrics_before;

  Guard(Context& c, const StepGuardRow& r, const StepGuardParams& p, double scale)
      : context(c),
        row(r),
        params(p),
        loss_scale(c, p.dtype, {1}, {scale}),
        factor(Operand::unset(c, p.dtype, {1})),
        counters(c, DType::i32, {kStepCounters}, std::vector<double>(kStepCounters, 0.0)),
        report(c, DType::f64, {kStepReportFields}, std::vector<double>(kStepReportFields, 0.0)),
        state(c, p.dtype, {1000}, std::vector<double>(1000, 7.0)),
        state_before(c, p.dtype, {1000}, random_values(1000, DType::f32, -1.0, 1.0, 3)),
        metrics(c, DType::f64, {3}, {8.0, 8.0, 8.0}),
        metrics_before(c, DType::f64, {3}, {0.1, 0.2, 0.3}) {}

  void step(double sum_of_squares, std::int32_t bad_segment = kNoSegment) {
    const Operand sum(context, DType::f64, {1}, {sum_of_squares}),
        bad(context, DType::i32, {1}, {static_cast<double>(bad_segment)});
    row.forward(
        context, params,
        {sum, bad, loss_scale, factor, counters, report, state, state_before, metrics, metrics_before});
    for (const Operand* operand :
         std::initializer_list<const Operand*>{&sum, &bad, &loss_scale, &factor, &counters, &report, &state,
                                               &state_before, &metrics, &metrics_before})
      CHECK(operand->intact());
  }
  void good() { step(4.0); }
  void bad(std::int32_t segment = 5) { step(std::numeric_limits<double>::quiet_NaN(), segment); }

  double scale() const { return loss_scale.values()[0]; }
  double by() const { return factor.values()[0]; }
  int count(StepCounter counter) const { return static_cast<int>(counters.values()[counter]); }
  double told(StepReportField field) const { return report.values()[field]; }
};

template <class Test>
void for_each_guard(StepGuardParams params, double scale, Test&& test) {
  for (const DType dtype : {DType::f64, DType::f32}) {
    params.dtype = dtype;
    for_each_row(step_guard_rows(), [&](Context& context, const StepGuardRow& row) {
      if (!row.supports(params)) return;
      Guard guard(context, row, params, scale);
      test(guard);
    });
  }
}

StepGuardParams dynamic() {
  StepGuardParams params;
  params.dynamic = true;
  return params;
}

/// torch/amp: _amp_update_scale_ of PyTorch 1.13 (aten/src/ATen/native/cuda/AmpKernels.cu), line by line.
struct PyTorchScale {
  float scale;
  int growth_tracker = 0;

  void update(bool found_inf, double growth, double backoff, int interval) {
    if (found_inf) {
      scale = static_cast<float>(scale * backoff);
      growth_tracker = 0;
    } else {
      const int successful = growth_tracker + 1;
      if (successful == interval) {
        const auto grown = static_cast<float>(scale * growth);
        if (std::isfinite(grown)) scale = grown;
        growth_tracker = 0;
      } else {
        growth_tracker = successful;
      }
    }
  }
};

}  // namespace

TEST_CASE("a dynamic loss scale moves as PyTorch's", "[kernels][step_guard]") {
  StepGuardParams params = dynamic();
  params.growth_interval = 4;
  params.minimum = 0x1p-100;
  params.maximum = 0x1p100;
  params.patience = 1000;
  for_each_guard(params, 65536.0, [&](Guard& guard) {
    PyTorchScale expected{65536.0f};
    int updates = 0, skipped = 0;
    for (int step = 0; step < 120; ++step) {
      const bool overflows =
          philox(21, 0, static_cast<std::uint64_t>(step), RandomUse::test).word[0] % 7 == 0;
      const double before = guard.scale();
      overflows ? guard.bad() : guard.good();
      expected.update(overflows, 2.0, 0.5, 4);
      CHECK(guard.scale() == expected.scale);
      CHECK(guard.count(kCleanSteps) == expected.growth_tracker);
      CHECK(guard.by() == (overflows ? kSkipStep : 1.0 / before));  // the scale the gradients came with
      (overflows ? skipped : updates) += 1;
      CHECK(guard.count(kUpdates) == updates);
      CHECK(guard.count(kSkipped) == skipped);
      CHECK(guard.count(kSteps) == step + 1);
      CHECK(guard.count(kStopped) == 0);
    }
    CHECK(skipped > 5);
    CHECK(updates > 50);
  });
}

TEST_CASE("a loss scale stays between its bounds", "[kernels][step_guard]") {
  StepGuardParams params = dynamic();
  params.growth_interval = 1;
  params.maximum = 16.0;
  params.minimum = 1.5;
  for_each_guard(params, 4.0, [](Guard& guard) {
    std::vector<double> scales;
    for (int step = 0; step < 4; ++step) (guard.good(), scales.push_back(guard.scale()));
    for (int step = 0; step < 5; ++step) (guard.bad(), scales.push_back(guard.scale()));
    CHECK(scales == std::vector<double>{8.0, 16.0, 16.0, 16.0, 8.0, 4.0, 2.0, 1.5, 1.5});
    CHECK(guard.count(kStuckSteps) == 1);
  });
}

TEST_CASE("hysteresis counts bad steps since the scale could last grow", "[kernels][step_guard]") {
  StepGuardParams params = dynamic();  // as ColossalAI's DynamicGradScaler counts them
  params.hysteresis = 3;
  params.growth_interval = 3;
  for_each_guard(params, 64.0, [](Guard& guard) {
    std::vector<double> scales;
    for (const char step : std::string("bbgbbgggbbb")) {
      step == 'b' ? guard.bad() : guard.good();
      scales.push_back(guard.scale());
    }
    CHECK(scales == std::vector<double>{64, 64, 64, 32, 16, 16, 16, 32, 32, 32, 16});
    CHECK(guard.count(kUpdates) == 4);
  });
}

TEST_CASE("the factor clips the norm of the true gradients", "[kernels][step_guard]") {
  StepGuardParams params;
  params.max_norm = 1.5;
  for (const double scale : {1.0, 1024.0})
    for (const double norm : {0.0, 0.5, 1.4999, 1.5, 3.0, 1e20})
      for_each_guard(params, scale, [&](Guard& guard) {
        guard.step(norm * norm * scale * scale);
        // torch.nn.utils.clip_grad_norm_: clamp(max_norm / (norm + 1e-6), max = 1)
        const double expected = std::min(1.0, 1.5 / (norm + 1e-6)) / scale;
        const double u = 4 * unit_roundoff(guard.params.dtype);
        CHECK(std::fabs(guard.by() - expected) <= u * expected);
        CHECK(std::fabs(guard.told(kGradientNorm) - norm) <= 1e-15 * norm);
      });
}

TEST_CASE("a skipped step restores what it has written, any other leaves it", "[kernels][step_guard]") {
  for_each_guard(dynamic(), 8.0, [](Guard& guard) {
    guard.good();
    CHECK(guard.state.values() == std::vector<double>(1000, 7.0));
    CHECK(guard.metrics.values() == std::vector<double>{8.0, 8.0, 8.0});
    guard.bad();
    CHECK(guard.state.values() == guard.state_before.values());
    CHECK(guard.metrics.values() == guard.metrics_before.values());
  });
}

TEST_CASE("with a fixed scale a bad step stops the run or is skipped", "[kernels][step_guard]") {
  StepGuardParams params;
  for_each_guard(params, 1.0, [](Guard& guard) {
    guard.good();
    guard.bad(17);
    CHECK(guard.count(kStopped) == 1);
    guard.good();  // too late
    guard.bad(3);
    CHECK(guard.by() == kSkipStep);
    CHECK(guard.count(kUpdates) == 1);
    CHECK(guard.count(kSkipped) == 1);
    CHECK(guard.count(kSteps) == 4);
    CHECK(guard.told(kFirstBadStep) == 2.0);
    CHECK(guard.told(kFirstBadSegment) == 17.0);
    CHECK(guard.metrics.values() == guard.metrics_before.values());
  });
  params.stop = false;
  params.patience = 4;
  for_each_guard(params, 1.0, [](Guard& guard) {
    for (const char step : std::string("bbbgbb")) step == 'b' ? guard.bad() : guard.good();
    CHECK(guard.count(kStopped) == 0);
    CHECK(guard.scale() == 1.0);
    guard.bad();
    CHECK(guard.count(kStopped) == 0);
    guard.bad();
    CHECK(guard.count(kStopped) == 1);
    CHECK(guard.count(kUpdates) == 1);
  });
}

TEST_CASE("a dynamic scale gives up at its minimum alone", "[kernels][step_guard]") {
  StepGuardParams params = dynamic();
  params.minimum = 1.0;
  params.patience = 3;
  for_each_guard(params, 1024.0, [](Guard& guard) {
    for (int step = 0; step < 10 + 2; ++step) guard.bad();  // ten halvings, two at the minimum
    CHECK(guard.scale() == 1.0);
    CHECK(guard.count(kStopped) == 0);
    guard.bad();
    CHECK(guard.count(kStopped) == 1);
    CHECK(guard.told(kFirstBadStep) == 1.0);
  });
}

TEST_CASE("every step_guard row gives the same bits again", "[kernels][step_guard]") {
  StepGuardParams params = dynamic();
  params.max_norm = 0.3;
  for_each_row(step_guard_rows(), [&](Context& context, const StepGuardRow& row) {
    check_same_bits(row, [&] {
      Guard guard(context, row, params, 128.0);
      std::vector<std::byte> bytes;
      for (int step = 0; step < 4; ++step) {
        step == 2 ? guard.bad() : guard.step(7.0 / (step + 3));
        for (const Operand* operand : {&guard.loss_scale, &guard.factor, &guard.counters, &guard.report,
                                       &guard.state, &guard.metrics}) {
          const std::vector<std::byte> more = operand->bytes();
          bytes.insert(bytes.end(), more.begin(), more.end());
        }
      }
      return bytes;
    });
  });
}

TEST_CASE("step_guard refuses bad arguments", "[kernels][step_guard]") {
  Context context({DeviceKind::cpu, 0});
  const Guard guard(context, reference::step_guard_row, {}, 1.0);
  const Operand sum(context, DType::f64, {1}, {1.0}), bad(context, DType::i32, {1}, {0.0});
  StepGuardOperands operands{sum, bad, guard.loss_scale, guard.factor, guard.counters, guard.report};
  CHECK_NOTHROW(step_guard_forward(context, {}, operands));  // nothing to restore
  const auto call = [&](auto&& change) {
    return [&context, operands, change]() mutable {
      StepGuardParams params;
      change(params, operands);
      step_guard_forward(context, params, operands);
    };
  };
  check_usage_error(call([](auto& params, auto&) { params.growth = 0.5; }),
                    "step_guard: growth is 0.5, expected at least 1");
  check_usage_error(call([](auto& params, auto&) { params.backoff = 0.0; }),
                    "step_guard: backoff is 0, expected 0 < backoff <= 1");
  check_usage_error(call([](auto& params, auto&) { params.minimum = 1e30; }),
                    "step_guard: minimum is 1e+30, expected 0 < minimum <= maximum");
  check_usage_error(call([](auto& params, auto&) { params.growth_interval = 0; }),
                    "step_guard: growth_interval is 0, expected at least 1");
  check_usage_error(call([](auto& params, auto&) { params.max_norm = -1.0; }),
                    "step_guard: max_norm is -1, expected at least 0");
  check_usage_error(call([](auto&, auto& given) { given.report = {}; }), "step_guard: report is missing");
  check_usage_error(call([&](auto&, auto& given) { given.state = guard.state; }),
                    "step_guard: state_before is missing");
  check_usage_error(call([&](auto&, auto& given) { given.counters = guard.metrics; }),
                    "step_guard: counters has shape (3), expected (7)");
}
