#include "kernels/conv2d_stats/conv2d_stats.h"

#include "tests/kernels/rows.h"

using namespace zeroth;
using namespace zeroth::testing;

namespace {

constexpr DType kDTypes[] = {DType::f64, DType::f32, DType::bf16, DType::f16};

/// n, h, w, c, k, r, s, stride, padding
constexpr Conv2dParams kProblems[] = {{1, 1, 1, 1, 1, 1, 1, 1, 0},   {2, 5, 4, 3, 2, 3, 2, 2, 1},
                                      {1, 1, 1, 16, 16, 3, 3, 1, 1}, {3, 4, 8, 64, 64, 3, 3, 1, 1},
                                      {2, 7, 9, 32, 32, 3, 3, 1, 1}, {1, 9, 32, 16, 16, 3, 3, 1, 1}};

/// What inputs are drawn from.
struct Range {
  double x_low, w_low;
};
constexpr Range kRanges[] = {{-1.0, -1.0}, {0.9, 0.9}};  // about zero; means far above the deviations

/// The operands of one call.
struct Operands {
  Conv2dStatsParams params;
  Operand x, w, x_mean, x_variance, gamma, beta, y, mean, variance;

  Operands(Context& context, const Conv2dStatsParams& problem, const Range& range)
      : params(problem),
        x(context, params.dtype, params.x_shape(),
          random_values(params.x_shape().elements(), params.dtype, range.x_low, 1.0, 1)),
        w(context, params.dtype, params.w_shape(),
          random_values(params.w_shape().elements(), params.dtype, range.w_low, 1.0, 2)),
        x_mean(channels(context, -0.5, 0.5, 3)),
        x_variance(channels(context, 0.2, 2.0, 4)),
        gamma(channels(context, 0.5, 1.5, 5)),
        beta(channels(context, -0.5, 0.5, 6)),
        y(Operand::unset(context, params.dtype, params.y_shape())),
        mean(Operand::unset(context, statistics_dtype(params.dtype), {params.k})),
        variance(Operand::unset(context, statistics_dtype(params.dtype), {params.k})) {}

  Conv2dStatsOperands views() const {
    Conv2dStatsOperands o{.x = x, .w = w, .y = y, .mean = mean, .variance = variance};
    if (params.prologue == Prologue::batch_norm_relu) {
      o.x_mean = x_mean;
      o.x_variance = x_variance;
      o.gamma = gamma;
      o.beta = beta;
    }
    return o;
  }
  void run(Context& context) const {
    const Operand workspace = Operand::unset(
        context, DType::u8, {static_cast<std::int64_t>(256 + conv2d_stats_workspace(context, params))});
    conv2d_stats_forward(
        context, params, views(),
        {static_cast<std::byte*>(workspace.view().data) + 240, workspace.workspace().bytes - 256});
    context.synchronize();
    CHECK(workspace.intact());
    for (const Operand* operand : {&y, &mean, &variance}) CHECK(operand->intact());
  }
  std::vector<std::byte> written() const {
    std::vector<std::byte> all;
    for (const Operand* operand : {&y, &mean, &variance}) {
      const std::vector<std::byte> bytes = operand->bytes();
      all.insert(all.end(), bytes.begin(), bytes.end());
    }
    return all;
  }

 private:
  Operand channels(Context& context, double low, double high, std::uint64_t seed) const {
    return Operand(context, statistics_dtype(params.dtype), {params.c},
                   random_values(params.c, statistics_dtype(params.dtype), low, high, seed));
  }
};

Conv2dStatsParams with(const Conv2dParams& convolution, DType dtype, Prologue prologue) {
  Conv2dStatsParams params;
  static_cast<Conv2dParams&>(params) = convolution;
  params.dtype = dtype;
  params.prologue = prologue;
  return params;
}

/// The moments are those of y as it was stored.
void check_moments(const Operands& o) {
  const std::vector<double> y = o.y.values(), mean = o.mean.values(), variance = o.variance.values();
  const auto k = static_cast<std::size_t>(o.params.k);
  const double rows = static_cast<double>(y.size() / k);
  const double roundoff = unit_roundoff(statistics_dtype(o.params.dtype));
  for (std::size_t c = 0; c < k; ++c) {
    double sum = 0.0, absolute = 0.0, squares = 0.0;
    for (std::size_t i = c; i < y.size(); i += k) sum += y[i], absolute += std::fabs(y[i]);
    for (std::size_t i = c; i < y.size(); i += k) squares += (y[i] - sum / rows) * (y[i] - sum / rows);
    INFO("channel " << c);
    CHECK(std::fabs(mean[c] - sum / rows) <= 16 * roundoff * absolute / rows);
    // Deviations are taken from means that are off by some roundings of the mean.
    const double expected = squares / rows, slip = 16 * roundoff * absolute / rows;
    CHECK(std::fabs(variance[c] - expected) <=
          16 * roundoff * expected + slip * (slip + std::sqrt(expected)));
  }
}

}  // namespace

TEST_CASE("every conv2d_stats row convolves and gives the moments of its result", "[kernels][conv2d_stats]") {
  int runs = 0;
  for_each_row(conv2d_stats_rows(), [&](Context& context, const Conv2dStatsRow& row) {
    context.choose_implementation(std::string("conv2d_stats=") + row.name);
    context.choose_implementation(std::string("conv2d=") + row.name);
    for (const Conv2dParams& problem : kProblems)
      for (const DType dtype : kDTypes)
        for (const Range& range : kRanges) {
          const Conv2dStatsParams params = with(problem, dtype, Prologue::none);
          if (!row.supports(params)) continue;
          INFO(params.to_string());
          const Operands o(context, params, range);
          o.run(context);
          check_moments(o);
          const Operand y = Operand::unset(context, dtype, params.y_shape());
          conv2d_forward(context, params, o.x, o.w, y, {});
          context.synchronize();
          CHECK((o.y.bytes() == y.bytes()));
          check_same_bits(row, [&] {
            const Operands again(context, params, range);
            again.run(context);
            return again.written();
          });
          runs += row.device == DeviceKind::simt;
        }
  });
  if (has_device(DeviceKind::simt)) CHECK(runs == 4 * 2 * 2);
}

TEST_CASE("the prologue of conv2d_stats is a batch norm with its ReLU", "[kernels][conv2d_stats]") {
  Context context({DeviceKind::cpu, 0});
  for (const Conv2dParams& problem : kProblems) {
    const Conv2dStatsParams params = with(problem, DType::f64, Prologue::batch_norm_relu);
    INFO(params.to_string());
    const Operands o(context, params, kRanges[0]);
    o.run(context);
    check_moments(o);
    const std::vector<double> mean = o.x_mean.values(), variance = o.x_variance.values(),
                              gamma = o.gamma.values(), beta = o.beta.values();
    std::vector<double> u = o.x.values();
    for (std::size_t i = 0; i < u.size(); ++i) {
      const std::size_t c = i % static_cast<std::size_t>(params.c);
      u[i] = std::max(0.0, (u[i] - mean[c]) / std::sqrt(variance[c] + params.eps) * gamma[c] + beta[c]);
    }
    const Operand input(context, DType::f64, params.x_shape(), u),
        y = Operand::unset(context, DType::f64, params.y_shape());
    conv2d_forward(context, params, input, o.w, y, {});
    const double terms = static_cast<double>(params.r * params.s * params.c);
    check_close(o.y.values(), y.values(), [&](std::size_t) { return 16 * terms * 0x1p-53; });
  }
}

TEST_CASE("conv2d_stats refuses arguments that do not match", "[kernels][conv2d_stats]") {
  Context context({DeviceKind::cpu, 0});
  const Conv2dStatsParams params = with(kProblems[1], DType::f32, Prologue::batch_norm_relu);
  const Operands o(context, params, kRanges[0]);
  const auto refused = [&](const Conv2dStatsOperands& operands, const std::string& message) {
    check_usage_error([&] { conv2d_stats_forward(context, params, operands, {}); }, message);
  };
  Conv2dStatsOperands wrong = o.views();
  wrong.variance = o.gamma;
  refused(wrong, "conv2d_stats: variance has shape (3), expected (2)");
  wrong = o.views();
  wrong.x_variance = {};
  refused(wrong, "conv2d_stats: x_variance is missing");
  Conv2dStatsParams odd = params;
  odd.n = 0;
  check_usage_error([&] { conv2d_stats_workspace(context, odd); },
                    "conv2d_stats: no picture has no moments: batch_norm_relu 0x5x4x3 * 2x3x2 /2 +1 f32");
  odd = params;
  odd.eps = 0.0;
  check_usage_error([&] { conv2d_stats_workspace(context, odd); }, "conv2d_stats: eps is 0, not positive");
  odd = params;
  odd.stride = 0;
  check_usage_error([&] { conv2d_stats_workspace(context, odd); },
                    "conv2d_stats: sizes and stride must be positive, padding not negative: "
                    "2x5x4x3 * 2x3x2 /0 +1 f32");
}
