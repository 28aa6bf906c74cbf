#include "kernels/mixup/mixup.h"

#include "tests/kernels/rows.h"

using namespace zeroth;
using namespace zeroth::testing;

namespace {

struct Case {
  std::int64_t n, row_elements;
  double share;
};

// Rows of whole packs and not, odd batches, one row and none, several blocks.
const Case kCases[] = {{2, 8, 0.75},      {3, 24, 0.5},  {5, 7, 0.9},   {1, 5, 0.6},     {0, 12, 0.6},
                       {128, 3072, 0.55}, {16, 27, 1.0}, {8, 1, 0.625}, {700, 1, 0.5625}};

struct Operands {
  Operand x, labels, share, other_labels;

  Operands(Context& context, const Case& test, DType dtype)
      : x(context, dtype, {test.n, test.row_elements},
          random_values(test.n * test.row_elements, dtype, -2.0, 2.0, 1)),
        labels(context, DType::i32, {test.n}, label_values(test.n)),
        share(context, statistics_dtype(dtype), {1}, {static_cast<double>(static_cast<float>(test.share))}),
        other_labels(Operand::unset(context, DType::i32, {test.n})) {}

  static std::vector<double> label_values(std::int64_t n) {
    std::vector<double> values;
    for (std::int64_t i = 0; i < n; ++i) values.push_back(static_cast<double>(3 * i + 1));
    return values;
  }
};

}  // namespace

TEST_CASE("every mixup row mixes each row with its partner", "[kernels][mixup]") {
  for (const Case& test : kCases)
    for (const DType dtype : {DType::f64, DType::f32, DType::bf16, DType::f16})
      for_each_row(mixup_rows(), [&](Context& context, const MixupRow& row) {
        const MixupParams params{test.n, test.row_elements, dtype};
        if (!row.supports(params)) return;
        INFO(params.to_string());
        const Operands operands(context, test, dtype);
        const std::vector<double> before = operands.x.values();
        const double share = operands.share.values()[0];
        row.forward(context, params, operands.x, operands.labels, operands.share, operands.other_labels);
        std::vector<double> expected(before.size()), labels;
        const auto n = static_cast<std::size_t>(test.n), width = static_cast<std::size_t>(test.row_elements);
        for (std::size_t i = 0; i < n; ++i) {
          const std::size_t partner = n - 1 - i;
          for (std::size_t k = 0; k < width; ++k)
            expected[i * width + k] =
                i == partner ? before[i * width + k]
                             : share * before[i * width + k] + (1.0 - share) * before[partner * width + k];
          labels.push_back(static_cast<double>(3 * partner + 1));
        }
        // Of values up to 2: the other share, two products and a sum in the compute type.
        const double u = unit_roundoff(statistics_dtype(dtype));
        check_close(operands.x.values(), expected,
                    [&](std::size_t i) { return 4 * u * 2.0 + rounding(dtype, expected[i]); });
        CHECK(operands.other_labels.values() == labels);
        for (const Operand* operand :
             {&operands.x, &operands.labels, &operands.share, &operands.other_labels})
          CHECK(operand->intact());
      });
}

TEST_CASE("every mixup row gives the same bits again", "[kernels][mixup]") {
  for (const Case& test : {kCases[2], kCases[5]})
    for_each_row(mixup_rows(), [&](Context& context, const MixupRow& row) {
      check_same_bits(row, [&] {
        const Operands operands(context, test, DType::f32);
        row.forward(context, {test.n, test.row_elements, DType::f32}, operands.x, operands.labels,
                    operands.share, operands.other_labels);
        return operands.x.bytes();
      });
    });
}

TEST_CASE("mixup refuses operands that do not match", "[kernels][mixup]") {
  Context context({DeviceKind::cpu, 0});
  const Operands good(context, {4, 6, 0.5}, DType::f32), other(context, {5, 6, 0.5}, DType::f32);
  CHECK_NOTHROW(mixup_forward(context, good.x, good.labels, good.share, good.other_labels));
  check_usage_error([&] { mixup_forward(context, good.x, other.labels, good.share, good.other_labels); },
                    "mixup: labels has shape (5), expected (4)");
  check_usage_error([&] { mixup_forward(context, good.x, good.labels, TensorView(), good.other_labels); },
                    "mixup: share is missing");
}
