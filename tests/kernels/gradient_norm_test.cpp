#include "kernels/gradient_norm/gradient_norm.h"

#include <omp.h>

#include "tests/kernels/rows.h"

using namespace zeroth;
using namespace zeroth::testing;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// All gradients of a network. In mixed precision every third segment is a working one, and the f32 gradients
/// of those hold a NaN that nobody may read.
struct Gradients {
  FlatParams params;
  std::vector<double> wide, narrow, groups;

  Gradients(std::int64_t segments, DType dtype, DType working)
      : params{segments * kParameterSegment, 1, dtype, working},
        wide(random_values(params.elements, DType::f32, -2.0, 3.0, 1)),
        narrow(random_values(params.elements, working, -2.0, 3.0, 2)),
        groups(static_cast<std::size_t>(segments), 0.0) {
    for (std::size_t i = 0; i < groups.size(); ++i)
      if (params.mixed() && i % 3 == 1) groups[i] = kWorkingSegment;
    for (std::size_t i = 0; i < wide.size(); ++i)
      if (working_at(i)) wide[i] = kNaN;
  }
  bool working_at(std::size_t i) const { return groups[i / kParameterSegment] != 0.0; }
  double& at(std::size_t i) { return working_at(i) ? narrow[i] : wide[i]; }
  double sum_of_squares() {
    long double sum = 0.0L;
    for (std::size_t i = 0; i < wide.size(); ++i) sum += static_cast<long double>(at(i)) * at(i);
    return static_cast<double>(sum);
  }
};

struct Result {
  double sum_of_squares;
  std::int32_t bad_segment;
};

/// Runs a row with a workspace of exactly the size it asked for.
Result measure(Context& context, const GradientNormRow& row, const Gradients& gradients) {
  const FlatParams& params = gradients.params;
  const Shape flat{params.elements};
  const Operand wide(context, params.dtype, flat, gradients.wide),
      groups(context, DType::u8, {params.elements / kParameterSegment}, gradients.groups),
      narrow(context, params.working, flat, gradients.narrow);
  const Operand sum = Operand::unset(context, DType::f64, {1}),
                bad = Operand::unset(context, DType::i32, {1});
  const Operand workspace =
      Operand::unset(context, DType::u8, {static_cast<std::int64_t>(row.workspace(context, params))});
  FlatParameters operands{{}, wide, groups, {}};
  if (params.mixed()) operands.working_gradients = narrow;
  row.forward(context, params, operands, sum, bad, workspace.workspace());
  for (const Operand* operand : {&wide, &groups, &narrow, &sum, &bad, &workspace}) CHECK(operand->intact());
  return {sum.values()[0], static_cast<std::int32_t>(bad.values()[0])};
}

template <class Test>
void for_each_problem(std::int64_t segments, Test&& test) {
  for (const auto& [dtype, working] :
       {std::pair{DType::f64, DType::f64}, std::pair{DType::f32, DType::f32},
        std::pair{DType::f32, DType::bf16}, std::pair{DType::f32, DType::f16}}) {
    Gradients gradients(segments, dtype, working);
    INFO(gradients.params.to_string());
    for_each_row(gradient_norm_rows(), [&](Context& context, const GradientNormRow& row) {
      if (row.supports(gradients.params)) test(context, row, gradients);
    });
  }
}

}  // namespace

TEST_CASE("every gradient_norm row sums squares in f64", "[kernels][gradient_norm]") {
  // Nothing, one segment, around a piece of the CPU's row, and more than the grid takes in one round.
  for (const std::int64_t segments : {0, 1, 2, 255, 257, 1031, 2 * 1024 * 256 * 4 / 16 + 3})
    for_each_problem(segments, [&](Context& context, const GradientNormRow& row, Gradients gradients) {
      if (segments > 2000 && row.device == DeviceKind::cpu && row.name == std::string("reference")) return;
      const Result result = measure(context, row, gradients);
      const double expected = gradients.sum_of_squares();
      // As many roundings as there are terms in the longest chain, whatever its order.
      check_close({result.sum_of_squares}, {expected},
                  [&](std::size_t) { return (gradients.params.elements + 1) * 0x1p-53 * expected; });
      CHECK(result.bad_segment == kNoSegment);
    });
}

TEST_CASE("every gradient_norm row names the first segment that is not finite", "[kernels][gradient_norm]") {
  for (const std::int64_t segments : {1, 5, 300, 1031})
    for (const std::int64_t first : {std::int64_t{0}, segments / 2, segments - 1})
      for (const double value : {kNaN, kInfinity, -kInfinity})
        for_each_problem(segments, [&](Context& context, const GradientNormRow& row, Gradients gradients) {
          for (std::int64_t segment = first; segment < segments; segment += 1 + segment % 7)
            gradients.at(static_cast<std::size_t>(segment * kParameterSegment + segment * 5 % 64)) = value;
          const Result result = measure(context, row, gradients);
          CHECK(result.bad_segment == first);
          CHECK_FALSE(std::isfinite(result.sum_of_squares));
        });
}

TEST_CASE("the largest finite gradients have a norm", "[kernels][gradient_norm]") {
  for_each_problem(3, [](Context& context, const GradientNormRow& row, Gradients gradients) {
    for (std::size_t i = 0; i < gradients.wide.size(); ++i)
      gradients.at(i) =
          gradients.working_at(i) && gradients.params.working == DType::f16 ? 65504.0 : 0x1.fep127;
    const Result result = measure(context, row, gradients);
    CHECK(result.bad_segment == kNoSegment);
    CHECK(std::isfinite(result.sum_of_squares));
    CHECK(result.sum_of_squares > 0x1p254);
  });
}

TEST_CASE("a gradient norm's order depends on the size alone", "[kernels][gradient_norm]") {
  struct RestoreThreads {
    int before = omp_get_max_threads();
    ~RestoreThreads() { omp_set_num_threads(before); }
  } restore;
  for_each_problem(2000, [](Context& context, const GradientNormRow& row, Gradients gradients) {
    gradients.at(1999 * 64) = gradients.at(1700 * 64 + 9) = kNaN;
    for (int bad = 0; bad < 2; ++bad) {
      int threads = 0;
      check_same_bits(row, [&] {
        omp_set_num_threads(1 + threads++ % 4);
        const Result result = measure(context, row, gradients);
        std::vector<std::byte> bytes(sizeof result.sum_of_squares + sizeof result.bad_segment);
        std::memcpy(bytes.data(), &result.sum_of_squares, sizeof result.sum_of_squares);
        std::memcpy(bytes.data() + sizeof result.sum_of_squares, &result.bad_segment,
                    sizeof result.bad_segment);
        return bytes;
      });
      gradients.at(1999 * 64) = gradients.at(1700 * 64 + 9) = 1.0;
    }
  });
}

TEST_CASE("gradient_norm refuses bad arguments", "[kernels][gradient_norm]") {
  Context context({DeviceKind::cpu, 0});
  const FlatParams params{2 * kParameterSegment, 1};
  const Operand flat(context, DType::f32, {128}, std::vector<double>(128, 1.0)),
      groups(context, DType::u8, {2}, {0, 0}), rates(context, DType::f32, {1, 2}, {0, 0}),
      sum = Operand::unset(context, DType::f64, {1}), bad = Operand::unset(context, DType::i32, {1});
  const FlatParameters operands{flat, flat, groups, rates};
  const Workspace workspace = context.scratch(gradient_norm_workspace(context, params));
  gradient_norm_forward(context, params, operands, sum, bad, workspace);
  CHECK(sum.values()[0] == 128.0);
  check_usage_error([&] { gradient_norm_forward(context, params, operands, rates, bad, workspace); },
                    "gradient_norm: sum_of_squares has shape (1, 2), expected (1)");
  check_usage_error([&] { gradient_norm_forward(context, params, operands, sum, sum, workspace); },
                    "gradient_norm: bad_segment has dtype f64, expected i32");
  check_usage_error(
      [&] {
        gradient_norm_forward(context, params, operands, sum, bad, {workspace.data, 8});
      },
      "gradient_norm: the workspace has 8 bytes, 16 are needed");
  check_usage_error(
      [&] {
        gradient_norm_forward(context, {100, 1}, operands, sum, bad, workspace);
      },
      "gradient_norm: 100 elements are not whole segments of 64");
}
