#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

#include <optional>

#include "kernels/check/cases.h"
#include "tests/kernels/harness.h"
#include "tests/kernels/rows.h"

using namespace zeroth;
using namespace zeroth::testing;

namespace {

using Params = SoftmaxCrossEntropyParams;
using TableRow = SoftmaxCrossEntropyRow;

struct Case {
  std::int64_t n, k;
  double smoothing;
  std::optional<double> share = {};  // of the first labels, where there are second ones
};

// One lane, eight and a whole warp a row; one block and several; rows that do not fill a warp.
const Case kCases[] = {{1, 1, 0.0},          {1, 10, 0.0},       {5, 3, 0.1},         {128, 10, 0.1},
                       {7, 17, 0.0},         {3, 100, 0.1},      {33, 256, 0.0},      {2, 257, 0.1},
                       {3, 1000, 0.0},       {4097, 10, 0.1},    {700, 50, 0.1},      {300, 259, 0.0},
                       {4, 6, 1.0},          {7, 10, 0.2, 0.7},  {9, 5, 0.0, 1.0},    {9, 5, 0.0, 0.0},
                       {40, 100, 0.1, 0.55}, {3, 300, 0.0, 0.9}, {4097, 10, 0.1, 0.6}};
constexpr DType kDTypes[] = {DType::f64, DType::f32, DType::bf16, DType::f16};
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// The operands of both passes. Logits are numbers that every storage dtype holds exactly, so that all rows
/// get equal ones.
struct Operands {
  Params params;
  DType statistics;
  Operand logits, labels, loss, row_losses, predictions, metrics, dloss, dlogits, other_labels, share;
  bool mixes;

  Operands(Context& context, const Params& problem, const std::vector<double>& logit_values,
           const std::vector<double>& label_values, std::optional<double> first_share = {},
           const std::vector<double>& other_label_values = {})
      : params(problem),
        statistics(statistics_dtype(params.dtype)),
        logits(context, params.dtype, {params.n, params.k}, logit_values),
        labels(context, DType::i32, {params.n}, label_values),
        loss(Operand::unset(context, statistics, {1})),
        row_losses(Operand::unset(context, statistics, {params.n})),
        predictions(Operand::unset(context, DType::i32, {params.n})),
        metrics(context, DType::f64, {3}, {100.0, 10.0, 1000.0}),
        dloss(context, statistics, {1}, {kDLoss}),
        dlogits(Operand::unset(context, params.dtype, {params.n, params.k})),
        other_labels(context, DType::i32, {params.n},
                     other_label_values.empty() ? random_labels(params, 3) : other_label_values),
        share(context, statistics, {1}, {first_share.value_or(0.0)}),
        mixes(first_share.has_value()) {}
  Operands(Context& context, const Params& problem, std::optional<double> first_share = {})
      : Operands(context, problem, random_logits(problem), random_labels(problem), first_share) {}

  OtherLabels others() const { return mixes ? OtherLabels{other_labels, share} : OtherLabels{}; }

  static constexpr double kDLoss = 48.0;

  static std::vector<double> random_logits(const Params& params) {
    return random_values(params.n * params.k, DType::bf16, -4.0, 4.0, 1);
  }
  static std::vector<double> random_labels(const Params& params, std::uint64_t seed = 2) {
    std::vector<double> labels(static_cast<std::size_t>(params.n));
    for (std::size_t i = 0; i < labels.size(); ++i)
      labels[i] =
          uniform_below(philox(seed, 0, i, RandomUse::test).word[0], static_cast<std::uint32_t>(params.k));
    return labels;
  }
  void forward(Context& context, const TableRow& row, bool with_metrics = true) const {
    row.forward(context, params, logits, labels, others(), loss, row_losses, predictions,
                with_metrics ? metrics.view() : TensorView());
  }
  void backward(Context& context, const TableRow& row, GradMode mode) const {
    row.backward(context, params, logits, labels, others(), dloss, dlogits, mode);
  }
  bool intact() const {
    for (const Operand* operand : {&logits, &labels, &loss, &row_losses, &predictions, &metrics, &dloss,
                                   &dlogits, &other_labels, &share})
      if (!operand->intact()) return false;
    return true;
  }
};

/// Relative error of the sum of exponentials in f32, in units of roundoff: each difference to the largest
/// logit is rounded (at most 8 here), each exponential good to 2, then k - 1 additions.
double sum_exp_error(const Params& params) {
  return 8.0 + 4.0 + static_cast<double>(params.k);
}

double row_loss_bound(const Params& params, double expected) {
  // The logarithm turns the sum's relative error into an absolute one; the two other terms, up to 8 in size,
  // take k additions for the mean and a few roundings each.
  const double u = unit_roundoff(statistics_dtype(params.dtype)), k = static_cast<double>(params.k);
  return u * (sum_exp_error(params) + 2 * (std::fabs(expected) + 16.0) + 8.0 * (k + 8.0));
}

double gradient_bound(const Params& params, double expected) {
  // A probability's relative error, and the subtraction of q: both are at most 1. Then two products.
  const double u = unit_roundoff(statistics_dtype(params.dtype));
  const double scale = Operands::kDLoss / static_cast<double>(params.n);
  return u * scale * (2 * sum_exp_error(params) + 8.0) + 4 * u * std::fabs(expected);
}

/// Within two roundings of f32: a device's logarithm need not be the nearest number.
bool is_log_2(double value) {
  return std::fabs(value - std::log(2.0)) <= 2 * 0x1p-24;
}

}  // namespace

// torch.nn.functional.cross_entropy (PyTorch 1.13, float64), and torch.argmax for the predictions.
TEST_CASE("softmax_cross_entropy agrees with PyTorch", "[kernels][softmax_cross_entropy]") {
  struct Golden {
    double smoothing, loss;
    std::vector<double> row_losses, gradient;
  };
  const std::vector<double> logits = {1.0, 2.0, -1.0, 0.5, 0.0, 0.0, 3.0, -2.0, -1.5, 4.0, 0.25, 4.0};
  const Golden goldens[] = {
      {0.0,
       1.4343563300857094,
       {0.49518189808585605, 3.1010320366555106, 0.70685505551576189},
       {0.074735939349400371, -0.13017998746704096, 0.010114409519805408, 0.045329638597835176,
        -0.3183324220173066, 0.01500091131602671, 0.30130135811951814, 0.0020301525817617832,
        0.00067185545037767619, 0.16439760835516162, 0.0038662611726324111, -0.16893572497817169}},
      {0.1,
       1.5489396634190429,
       {0.63268189808585606, 3.0760320366555107, 0.93810505551576195},
       {0.066402606016067067, -0.10517998746704092, 0.0017810761864720779, 0.036996305264501858,
        -0.29333242201730664, 0.0066675779826933816, 0.29296802478618489, -0.0063031807515715492,
        -0.0076614778829556572, 0.15606427502182832, -0.0044670721607009221, -0.1439357249781717}}};
  for (const Golden& golden : goldens)
    for (const DType dtype : kDTypes)
      for_each_row(softmax_cross_entropy_rows(), [&](Context& context, const TableRow& row) {
        const Params params{3, 4, golden.smoothing, dtype};
        if (!row.supports(params)) return;
        INFO(params.to_string());
        const Operands operands(context, params, logits, {1.0, 0.0, 3.0});
        operands.forward(context, row);
        const auto loss_bound = [&](std::size_t) { return row_loss_bound(params, 3.2); };
        check_close(operands.row_losses.values(), golden.row_losses, loss_bound);
        check_close(operands.loss.values(), {golden.loss}, loss_bound);
        CHECK(operands.predictions.values() == std::vector<double>{1.0, 2.0, 1.0});  // the first of equals
        operands.backward(context, row, GradMode::overwrite);
        std::vector<double> gradient = golden.gradient;
        for (double& value : gradient) value *= Operands::kDLoss;
        check_close(operands.dlogits.values(), gradient, [&](std::size_t i) {
          return gradient_bound(params, gradient[i]) + rounding(dtype, gradient[i]);
        });
      });
}

TEST_CASE("the reference's gradient is the loss's slope", "[kernels][softmax_cross_entropy]") {
  Context context({DeviceKind::cpu, 0});
  for (const Case& test : {kCases[1], kCases[2], kCases[4], kCases[12], kCases[13]}) {
    const Params params{test.n, test.k, test.smoothing, DType::f64};
    const std::vector<double> at = Operands::random_logits(params), labels = Operands::random_labels(params);
    const Operands operands(context, params, at, labels, test.share);
    operands.backward(context, reference::softmax_cross_entropy_row, GradMode::overwrite);
    const std::vector<double> gradient = operands.dlogits.values();
    for (std::uint64_t direction = 0; direction < 4; ++direction) {
      const std::vector<double> along =
          random_values(params.n * params.k, DType::f64, -1.0, 1.0, 10 + direction);
      const auto loss_at = [&](double step) {
        std::vector<double> moved = at;
        for (std::size_t i = 0; i < moved.size(); ++i) moved[i] += step * along[i];
        const Operands shifted(context, params, moved, labels, test.share);
        shifted.forward(context, reference::softmax_cross_entropy_row);
        return shifted.loss.values()[0];
      };
      double slope = 0.0;
      for (std::size_t i = 0; i < along.size(); ++i) slope += gradient[i] * along[i];
      constexpr double kStep = 1e-5;
      const double difference = (loss_at(kStep) - loss_at(-kStep)) / (2 * kStep) * Operands::kDLoss;
      // Truncation is step^2 / 6 times a third derivative below 2, cancellation is 1e-16 * 8 / step.
      CHECK(std::fabs(difference - slope) < Operands::kDLoss * 3e-10);
    }
  }
}

TEST_CASE("every softmax_cross_entropy row agrees with the reference", "[kernels][softmax_cross_entropy]") {
  for (const Case& test : kCases) {
    Context host({DeviceKind::cpu, 0});
    // Every row gets the f32 share.
    std::optional<double> share = test.share;
    if (share) share = static_cast<double>(static_cast<float>(*share));
    const Operands exact(host, {test.n, test.k, test.smoothing, DType::f64}, share);
    exact.forward(host, reference::softmax_cross_entropy_row);
    exact.backward(host, reference::softmax_cross_entropy_row, GradMode::overwrite);
    const std::vector<double> row_losses = exact.row_losses.values(), gradient = exact.dlogits.values(),
                              metrics = exact.metrics.values();
    CHECK(exact.intact());
    for (const DType dtype : {DType::f32, DType::bf16, DType::f16})
      for_each_row(softmax_cross_entropy_rows(), [&](Context& context, const TableRow& row) {
        const Params params{test.n, test.k, test.smoothing, dtype};
        if (!row.supports(params)) return;
        INFO(params.to_string());
        const Operands operands(context, params, share);
        operands.forward(context, row);
        const auto loss_bound = [&](std::size_t i) { return row_loss_bound(params, row_losses[i]); };
        check_close(operands.row_losses.values(), row_losses, loss_bound);
        const double worst = row_loss_bound(params, *std::max_element(row_losses.begin(), row_losses.end()));
        check_close(operands.loss.values(), exact.loss.values(), [&](std::size_t) { return worst; });
        CHECK(operands.predictions.values() == exact.predictions.values());
        check_close(operands.metrics.values(), metrics,
                    [&](std::size_t i) { return i == 0 ? worst * static_cast<double>(params.n) : 0.0; });

        operands.backward(context, row, GradMode::overwrite);
        const auto bound = [&](std::size_t i) {
          return gradient_bound(params, gradient[i]) + rounding(dtype, gradient[i]);
        };
        const std::vector<double> once = operands.dlogits.values();
        check_close(once, gradient, bound);
        operands.backward(context, row, GradMode::accumulate);
        const std::vector<double> twice = operands.dlogits.values();
        std::vector<double> expected(once.size());
        for (std::size_t i = 0; i < once.size(); ++i) expected[i] = once[i] + gradient[i];
        check_close(twice, expected, [&](std::size_t i) {
          return gradient_bound(params, gradient[i]) + rounding(dtype, expected[i]) +
                 0x1p-24 * std::fabs(expected[i]);
        });
        CHECK(operands.intact());
      });
  }
}

TEST_CASE("every softmax_cross_entropy row gives the same bits again", "[kernels][softmax_cross_entropy]") {
  for (const Case& test : {kCases[3], kCases[5], kCases[9], kCases[11], kCases[16], kCases[18]})
    for_each_row(softmax_cross_entropy_rows(), [&](Context& context, const TableRow& row) {
      check_same_bits(row, [&] {
        const Operands operands(context, {test.n, test.k, test.smoothing, DType::f32}, test.share);
        operands.forward(context, row);
        operands.backward(context, row, GradMode::overwrite);
        std::vector<std::byte> bytes = operands.loss.bytes();
        for (const Operand* operand :
             {&operands.row_losses, &operands.predictions, &operands.metrics, &operands.dlogits}) {
          const std::vector<std::byte> more = operand->bytes();
          bytes.insert(bytes.end(), more.begin(), more.end());
        }
        return bytes;
      });
    });
}

TEST_CASE("softmax_cross_entropy at the edges", "[kernels][softmax_cross_entropy]") {
  for_each_row(softmax_cross_entropy_rows(), [](Context& context, const TableRow& row) {
    const auto run = [&](const Params& params, const std::vector<double>& logits, double label) {
      const Operands operands(context, params, logits, {label});
      operands.forward(context, row);
      operands.backward(context, row, GradMode::overwrite);
      CHECK(operands.intact());
      return std::tuple(operands.loss.values()[0], operands.predictions.values()[0],
                        operands.dlogits.values());
    };
    const Params plain{1, 3, 0.0, DType::f32}, smooth{1, 3, 0.3, DType::f32};
    {  // logits whose exponentials overflow, and vanish
      const auto [loss, predicted, gradient] = run(plain, {1e30, -1e30, 1e30}, 0);
      CHECK(is_log_2(loss));
      CHECK(predicted == 0);
      CHECK(gradient == std::vector<double>{-24.0, 0.0, 24.0});
    }
    {  // an impossible class costs nothing unless smoothing wants it
      const auto [loss, predicted, gradient] = run(plain, {0.0, -kInfinity, 0.0}, 2);
      CHECK(is_log_2(loss));
      CHECK(gradient == std::vector<double>{24.0, 0.0, -24.0});
      CHECK(std::get<0>(run(smooth, {0.0, -kInfinity, 0.0}, 2)) == kInfinity);
      CHECK(std::get<0>(run(plain, {0.0, -kInfinity, 0.0}, 1)) == kInfinity);
    }
    {  // a label that names no class
      for (const double label : {-1.0, 3.0}) {
        const auto [loss, predicted, gradient] = run(smooth, {1.0, 2.0, 0.0}, label);
        CHECK(std::isnan(loss));
        CHECK(predicted == 1);
        for (const double value : gradient) CHECK(std::isnan(value));
      }
    }
    {  // NaN and infinity among the logits do not pass unnoticed
      CHECK(std::isnan(std::get<0>(run(plain, {0.0, kNaN, 1.0}, 2))));
      CHECK(std::get<1>(run(plain, {0.0, kNaN, 1.0}, 2)) == 2);
      CHECK(std::get<1>(run(plain, {kNaN, kNaN, kNaN}, 2)) == 0);
      CHECK(std::isnan(std::get<0>(run(plain, {0.0, kInfinity, 1.0}, 2))));
    }
  });
}

TEST_CASE("a bad label spoils its own row only", "[kernels][softmax_cross_entropy]") {
  for_each_row(softmax_cross_entropy_rows(), [](Context& context, const TableRow& row) {
    const Operands operands(context, {3, 2, 0.0, DType::f32}, {0, 0, 0, 0, 0, 0}, {0, 2, 1});
    operands.forward(context, row);
    const std::vector<double> losses = operands.row_losses.values();
    CHECK(is_log_2(losses[0]));
    CHECK(std::isnan(losses[1]));
    CHECK(is_log_2(losses[2]));
    CHECK(std::isnan(operands.loss.values()[0]));
    CHECK(operands.metrics.values()[1] == 11.0);
  });
}

TEST_CASE("two labels cost the weighted mean of what each would", "[kernels][softmax_cross_entropy]") {
  for_each_row(softmax_cross_entropy_rows(), [](Context& context, const TableRow& row) {
    const Params params{6, 5, 0.2, DType::f32};
    const std::vector<double> logits = Operands::random_logits(params), one = {0, 1, 2, 3, 4, 0},
                              other = {4, 1, 0, 2, 3, 1};
    const auto run = [&](const Operands& operands) {
      operands.forward(context, row);
      operands.backward(context, row, GradMode::overwrite);
      std::vector<double> results = operands.row_losses.values();
      for (const double value : operands.dlogits.values()) results.push_back(value);
      CHECK(operands.metrics.values()[2] == 1006.0);
      return std::pair(results, operands.metrics.values()[1]);
    };
    const auto first = run(Operands(context, params, logits, one)),
               second = run(Operands(context, params, logits, other)),
               mixed = run(Operands(context, params, logits, one, 0.75, other));
    std::vector<double> expected;
    for (std::size_t i = 0; i < first.first.size(); ++i)
      expected.push_back(0.75 * first.first[i] + 0.25 * second.first[i]);
    check_close(mixed.first, expected, [](std::size_t) { return 64 * 0x1p-24; });
    CHECK(mixed.second == first.second);  // the first label is the one that counts as correct
    CHECK(first.first != second.first);
    // A second label that names no class spoils its row.
    const Operands bad(context, params, logits, one, 0.75, {4, 1, 5, 2, 3, 1});
    bad.forward(context, row);
    for (std::size_t i = 0; i < 6; ++i) CHECK(std::isnan(bad.row_losses.values()[i]) == (i == 2));
  });
}

TEST_CASE("an empty batch has no mean", "[kernels][softmax_cross_entropy]") {
  for_each_row(softmax_cross_entropy_rows(), [](Context& context, const TableRow& row) {
    const Operands operands(context, {0, 10, 0.0, DType::f32});
    operands.forward(context, row);
    operands.backward(context, row, GradMode::overwrite);
    CHECK(std::isnan(operands.loss.values()[0]));
    CHECK(operands.metrics.values() == std::vector<double>{100.0, 10.0, 1000.0});
    CHECK(operands.intact());
  });
}

TEST_CASE("metrics may be absent, and a skipped gradient stays", "[kernels][softmax_cross_entropy]") {
  for (const DeviceKind kind : {DeviceKind::cpu, DeviceKind::simt}) {
    Context context({kind, 0});
    const Operands operands(context, {128, 10, 0.0, DType::f32});
    softmax_cross_entropy_forward(context, operands.params, operands.logits, operands.labels, operands.loss,
                                  operands.row_losses, operands.predictions, TensorView());
    CHECK(operands.loss.values()[0] > 0.0);
    CHECK(operands.metrics.values() == std::vector<double>{100.0, 10.0, 1000.0});
    softmax_cross_entropy_backward(context, operands.params, operands.logits, operands.labels, operands.dloss,
                                   operands.dlogits, GradMode::skip);
    for (const double value : operands.dlogits.values()) CHECK(std::isnan(value));
    CHECK_NOTHROW(softmax_cross_entropy_backward(context, operands.params, operands.logits, operands.labels,
                                                 operands.dloss, TensorView(), GradMode::skip));
  }
}

TEST_CASE("softmax_cross_entropy refuses bad arguments", "[kernels][softmax_cross_entropy]") {
  Context context({DeviceKind::cpu, 0});
  const Params good{4, 10, 0.1, DType::f32};
  const Operands o(context, good);
  const auto call = [&](const Params& params, TensorView metrics) {
    return [&context, &o, params, metrics] {
      softmax_cross_entropy_forward(context, params, o.logits, o.labels, o.loss, o.row_losses, o.predictions,
                                    metrics);
    };
  };
  CHECK_NOTHROW(call(good, o.metrics)());
  Params bad = good;
  bad.k = 0;
  check_usage_error(call(bad, o.metrics), "softmax_cross_entropy: 0 classes, expected 1 to 2147483647");
  bad = good;
  bad.smoothing = 1.5;
  check_usage_error(call(bad, o.metrics), "softmax_cross_entropy: smoothing is 1.5, expected 0 to 1");
  bad.smoothing = kNaN;
  check_usage_error(call(bad, o.metrics), "softmax_cross_entropy: smoothing is nan, expected 0 to 1");
  bad = good;
  bad.n = 5;
  check_usage_error(call(bad, o.metrics),
                    "softmax_cross_entropy: logits has shape (4, 10), expected (5, 10)");
  check_usage_error(call(good, o.loss), "softmax_cross_entropy: metrics has shape (1), expected (3)");
  check_usage_error(
      [&] {
        softmax_cross_entropy_backward(context, good, o.logits, o.labels, TensorView(), o.dlogits,
                                       GradMode::overwrite);
      },
      "softmax_cross_entropy backward: dloss is missing");
}

TEST_CASE("softmax_cross_entropy keeps the bounds that its cases state", "[kernels][softmax_cross_entropy]") {
  for (const Case& problem : kCases)
    check_cases(cases_of(Params{problem.n, problem.k, problem.smoothing, DType::f32}));
}
