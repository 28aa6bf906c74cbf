#include "kernels/scale/scale.h"

#include "tests/kernels/rows.h"

using namespace zeroth;
using namespace zeroth::testing;

TEST_CASE("every scale row multiplies and rounds once", "[kernels][scale]") {
  constexpr double kFactor = 1.0 / 9.0;
  for (const std::int64_t elements : {0, 1, 255, 257, 70003})
    for (const DType dtype : {DType::f64, DType::f32, DType::bf16, DType::f16})
      for_each_row(scale_rows(), [&](Context& context, const ScaleRow& row) {
        const ScaleParams params{elements, kFactor, dtype};
        if (!row.supports(params)) return;
        INFO(params.to_string());
        const std::vector<double> values = random_values(elements, dtype, -4.0, 4.0, 1),
                                  before = random_values(elements, dtype, -1.0, 1.0, 2);
        const Operand x(context, dtype, {elements}, values), y(context, dtype, {elements}, before);
        std::vector<double> expected;
        for (std::size_t i = 0; i < values.size(); ++i) expected.push_back(before[i] + kFactor * values[i]);
        // The factor, the product and the sum are rounded in the compute type.
        const double u = unit_roundoff(statistics_dtype(dtype));
        const auto bound = [&](std::size_t i) {
          return 3 * u * std::fabs(kFactor * values[i]) + u * std::fabs(expected[i]) +
                 rounding(dtype, expected[i]);
        };
        row.forward(context, params, x, y, GradMode::accumulate);
        check_close(y.values(), expected, bound);
        row.forward(context, params, x, y, GradMode::overwrite);
        for (std::size_t i = 0; i < values.size(); ++i) expected[i] = kFactor * values[i];
        check_close(y.values(), expected, bound);
        row.forward(context, params, x, x, GradMode::overwrite);  // in place
        CHECK((x.bytes() == y.bytes()));
        CHECK(x.intact());
        CHECK(y.intact());
      });
}

TEST_CASE("scale refuses operands that do not match, and skips", "[kernels][scale]") {
  Context context({DeviceKind::cpu, 0});
  const Operand x = Operand::unset(context, DType::f32, {2, 3}),
                other = Operand::unset(context, DType::f32, {3, 2});
  check_usage_error([&] { scale_forward(context, 2.0, x, other); },
                    "scale: y has shape (3, 2), expected (2, 3)");
  check_usage_error([&] { scale_backward(context, 2.0, x, other, GradMode::overwrite); },
                    "scale backward: dx has shape (3, 2), expected (2, 3)");
  CHECK_NOTHROW(scale_backward(context, 2.0, x, TensorView(), GradMode::skip));
}
