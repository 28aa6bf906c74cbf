#include "kernels/reduce/reduce.h"

#include <omp.h>

#include "tests/kernels/rows.h"

using namespace zeroth;
using namespace zeroth::testing;

namespace {

constexpr Reduction kReductions[] = {Reduction::sum, Reduction::sum_of_squares, Reduction::max_abs,
                                     Reduction::count_nonfinite};
constexpr DType kDTypes[] = {DType::f64, DType::f32, DType::bf16, DType::f16};
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// Runs a row with a workspace of exactly the size it asked for.
double reduce(Context& context, const ReduceRow& row, const ReduceParams& params,
              const std::vector<double>& values) {
  const Operand x(context, params.dtype, {params.elements}, values);
  const Operand result = Operand::unset(context, statistics_dtype(params.dtype), {1});
  const Operand workspace =
      Operand::unset(context, DType::u8, {static_cast<std::int64_t>(row.workspace(context, params))});
  row.forward(context, params, x, result, workspace.workspace());
  CHECK(x.intact());
  CHECK(result.intact());
  CHECK(workspace.intact());
  return result.values()[0];
}

double expected_sum(Reduction reduction, const std::vector<double>& values) {
  long double sum = 0.0L;
  for (const double value : values)
    sum += reduction == Reduction::sum ? value : static_cast<long double>(value) * value;
  return static_cast<double>(sum);
}

/// The contract: sums in f32 over short pieces, here up to 32 terms, and an exact tree above; f64 sums a
/// sequence of any length. One more rounding squares, one more stores the result.
double sum_bound(Reduction reduction, DType dtype, const std::vector<double>& values, double result) {
  double size = 0.0;
  for (const double value : values) size += reduction == Reduction::sum ? std::fabs(value) : value * value;
  const double terms = dtype == DType::f64 ? static_cast<double>(values.size()) : 32.0;
  const double u = unit_roundoff(statistics_dtype(dtype));
  return (terms + 1) * u * size + u * std::fabs(result);
}

}  // namespace

TEST_CASE("every reduce row sums accurately", "[kernels][reduce]") {
  // Around a pack, a lane set, a run, a piece and a block.
  for (const std::int64_t elements : {0, 1, 2, 3, 7, 8, 9, 31, 33, 1023, 1025, 4099, 32768, 32773, 100003}) {
    for (const DType dtype : kDTypes) {
      const std::vector<double> values = random_values(elements, dtype, -1.0, 2.0, 1);
      for (const Reduction reduction : {Reduction::sum, Reduction::sum_of_squares}) {
        const ReduceParams params{reduction, elements, dtype};
        const double expected = expected_sum(reduction, values);
        for_each_row(reduce_rows(), [&](Context& context, const ReduceRow& row) {
          if (!row.supports(params)) return;
          INFO(params.to_string());
          check_close({reduce(context, row, params, values)}, {expected},
                      [&](std::size_t) { return sum_bound(reduction, dtype, values, expected); });
        });
      }
    }
  }
}

TEST_CASE("a long sum is as accurate as a short one", "[kernels][reduce]") {
  // More than every thread of the largest grid takes at once. A plain f32 loop is off by 1e-3 here.
  const std::int64_t elements = 1024 * 256 * 16 + 12345;
  const std::vector<double> values(static_cast<std::size_t>(elements), rounded(DType::f32, 0.1));
  const ReduceParams params{Reduction::sum, elements, DType::f32};
  const double expected = expected_sum(Reduction::sum, values);
  for_each_row(reduce_rows(), [&](Context& context, const ReduceRow& row) {
    check_close({reduce(context, row, params, values)}, {expected},
                [&](std::size_t) { return sum_bound(params.reduction, params.dtype, values, expected); });
  });
}

TEST_CASE("every reduce row finds the largest magnitude", "[kernels][reduce]") {
  for (const std::int64_t elements : {1, 7, 33, 1025, 40001})
    for (const DType dtype : kDTypes)
      for (const std::int64_t place : {std::int64_t{0}, elements / 2, elements - 1})
        for (const double peak : {-5.5, 3.25, -kInfinity, kNaN}) {
          std::vector<double> values = random_values(elements, dtype, -1.0, 1.0, 2);
          values[static_cast<std::size_t>(place)] = peak;
          const ReduceParams params{Reduction::max_abs, elements, dtype};
          for_each_row(reduce_rows(), [&](Context& context, const ReduceRow& row) {
            if (!row.supports(params)) return;
            INFO(params.to_string() << ", " << peak << " at " << place);
            check_close({reduce(context, row, params, values)}, {std::fabs(peak)},
                        [](std::size_t) { return 0.0; });
          });
        }
}

TEST_CASE("a NaN is larger than infinity, and nothing is smaller than zeros", "[kernels][reduce]") {
  for_each_row(reduce_rows(), [](Context& context, const ReduceRow& row) {
    const ReduceParams params{Reduction::max_abs, 4, DType::f32};
    CHECK(std::isnan(reduce(context, row, params, {1.0, kInfinity, -kNaN, kInfinity})));
    CHECK(reduce(context, row, params, {-0.0, 0.0, -0.0, 0.0}) == 0.0);
    CHECK(reduce(context, row, {Reduction::max_abs, 0, DType::f32}, {}) == 0.0);
  });
}

TEST_CASE("every reduce row counts infinities and NaNs", "[kernels][reduce]") {
  for (const std::int64_t elements : {0, 1, 5, 9, 1025, 70001})
    for (const DType dtype : kDTypes) {
      std::vector<double> values = random_values(elements, dtype, -1.0, 1.0, 3);
      double expected = 0.0;
      for (std::size_t i = 0; i < values.size(); i += i / 3 + 1, ++expected)
        values[i] = i % 3 == 0 ? kNaN : (i % 3 == 1 ? kInfinity : -kInfinity);
      const ReduceParams params{Reduction::count_nonfinite, elements, dtype};
      for_each_row(reduce_rows(), [&](Context& context, const ReduceRow& row) {
        if (!row.supports(params)) return;
        INFO(params.to_string());
        CHECK(reduce(context, row, params, values) == expected);
      });
    }
}

TEST_CASE("the largest finite numbers are finite", "[kernels][reduce]") {
  for (const auto& [dtype, largest] :
       {std::pair{DType::f32, 0x1.fffffep127}, {DType::bf16, 0x1.fep127}, {DType::f16, 65504.0}})
    for_each_row(reduce_rows(), [&, type = dtype, value = largest](Context& context, const ReduceRow& row) {
      const ReduceParams params{Reduction::count_nonfinite, 2, type};
      if (row.supports(params)) CHECK(reduce(context, row, params, {value, -value}) == 0.0);
    });
}

TEST_CASE("a reduction's order depends on the size alone", "[kernels][reduce]") {
  struct RestoreThreads {
    int before = omp_get_max_threads();
    ~RestoreThreads() { omp_set_num_threads(before); }
  } restore;
  const ReduceParams params{Reduction::sum, 200001, DType::f32};
  const std::vector<double> values = random_values(params.elements, params.dtype, -1.0, 1.0, 4);
  for_each_row(reduce_rows(), [&](Context& context, const ReduceRow& row) {
    int threads = 0;
    check_same_bits(row, [&] {
      omp_set_num_threads(1 + threads++ % 4);
      const double result = reduce(context, row, params, values);
      std::vector<std::byte> bytes(sizeof result);
      std::memcpy(bytes.data(), &result, sizeof result);
      return bytes;
    });
  });
}

TEST_CASE("reduce refuses bad arguments", "[kernels][reduce]") {
  Context context({DeviceKind::cpu, 0});
  const ReduceParams params{Reduction::sum, 100000, DType::f32};
  const std::vector<double> values(100000, 1.0);
  const Operand x(context, DType::f32, {1000, 100}, values);
  const Operand result = Operand::unset(context, DType::f32, {1}),
                wide = Operand::unset(context, DType::f64, {1});
  const Workspace workspace = context.scratch(reduce_workspace(context, params));
  CHECK_NOTHROW(reduce_forward(context, params, x, result, workspace));  // any shape serves
  CHECK(result.values()[0] == 100000.0);
  check_usage_error(
      [&] {
        reduce_forward(context, {Reduction::sum, 7, DType::f32}, x, result, workspace);
      },
      "reduce: x has 100000 elements, expected 7");
  check_usage_error([&] { reduce_forward(context, params, x, wide, workspace); },
                    "reduce: result has dtype f64, expected f32");
  check_usage_error(
      [&] {
        reduce_forward(context, params, x, result, {workspace.data, 8});
      },
      "reduce: the workspace has 8 bytes, 32 are needed");
  check_usage_error(
      [&] {
        reduce_forward(context, params, TensorView(nullptr, {1000, 100}, DType::f32), result, workspace);
      },
      "reduce: x is missing");
}
