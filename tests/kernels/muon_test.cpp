#include "kernels/muon/muon.h"

#include <algorithm>

#include "tests/kernels/rows.h"

using namespace zeroth;
using namespace zeroth::testing;

namespace {

using Sizes = std::vector<std::pair<std::int64_t, std::int64_t>>;

constexpr std::int64_t kGroups = 3;

/// Matrices one behind the other, with a segment of somebody else's before each.
MuonParams params_of(const Sizes& sizes, DType dtype, DType working, std::int64_t iterations,
                     bool normalise) {
  MuonParams params{
      {0, kGroups, dtype, working == DType::f32 ? dtype : working}, 0.9, iterations, normalise, {}};
  for (const auto& [rows, columns] : sizes) {
    params.elements += kParameterSegment;
    params.matrices.push_back({params.elements, rows, columns});
    params.elements += (rows * columns + kParameterSegment - 1) / kParameterSegment * kParameterSegment;
  }
  return params;
}

/// The operands of a step. Gaps behind matrices hold zeros.
struct Step {
  MuonParams params;
  Operand weights, gradients, buffer, groups, rates, factor, working_weights, working_gradients, workspace;

  Step(Context& context, const MuonRow& row, const MuonParams& problem, double gradient_factor = 0.5)
      : params(problem),
        weights(context, params.dtype, {params.elements}, random(-1.0, 1.0, 1)),
        gradients(context, params.dtype, {params.elements}, random(-2.0, 2.0, 2)),
        buffer(context, params.dtype, {params.elements}, random(-1.0, 1.0, 3)),
        groups(context, DType::u8, {params.elements / kParameterSegment}, group_bytes()),
        rates(context, params.dtype, {kGroups, 2}, {0.0625, 0.5, 0.5, 0.25, 0.125, 0.0}),
        factor(context, params.dtype, {1}, {gradient_factor}),
        working_weights(context, params.working, {params.elements}, random(-1.0, 1.0, 5)),
        working_gradients(context, params.working, {params.elements}, random(-2.0, 2.0, 6)),
        workspace(
            Operand::unset(context, DType::u8, {static_cast<std::int64_t>(row.workspace(context, params))})) {
    row.step(context, params, operands(), buffer, workspace.workspace());
  }

  std::vector<double> random(double low, double high, std::uint64_t seed) const {
    std::vector<double> values = random_values(params.elements, DType::bf16, low, high, seed);
    for (const MuonMatrix& matrix : params.matrices)
      for (std::int64_t i = matrix.offset + matrix.rows * matrix.columns; i % kParameterSegment != 0; ++i)
        values[static_cast<std::size_t>(i)] = 0.0;
    return values;
  }
  /// In mixed precision every second matrix has working segments.
  std::vector<double> group_bytes() const {
    std::vector<double> bytes(static_cast<std::size_t>(params.elements / kParameterSegment), 1.0);
    for (std::size_t m = 0; m < params.matrices.size(); ++m) {
      const MuonMatrix& matrix = params.matrices[m];
      const std::int64_t end = matrix.offset + matrix.rows * matrix.columns;
      for (std::int64_t i = matrix.offset; i < end; i += kParameterSegment)
        bytes[static_cast<std::size_t>(i / kParameterSegment)] =
            static_cast<double>(m % kGroups) + (params.mixed() && m % 2 == 0 ? kWorkingSegment : 0);
    }
    return bytes;
  }
  FlatParameters operands() const {
    FlatParameters result{weights, gradients, groups, rates};
    result.gradient_factor = factor;
    if (params.mixed()) {
      result.working_weights = working_weights;
      result.working_gradients = working_gradients;
    }
    return result;
  }
  bool intact() const {
    return weights.intact() && gradients.intact() && buffer.intact() && groups.intact() && rates.intact() &&
           factor.intact() && working_weights.intact() && working_gradients.intact() && workspace.intact();
  }
  std::vector<std::byte> written() const {
    std::vector<std::byte> bytes = weights.bytes();
    for (const Operand* operand : {&buffer, &working_weights}) {
      const std::vector<std::byte> more = operand->bytes();
      bytes.insert(bytes.end(), more.begin(), more.end());
    }
    return bytes;
  }
};

/// Nothing done: what the operands were before.
void nothing(Context&, const MuonParams&, const FlatParameters&, TensorView, Workspace) {}
std::size_t no_workspace(Context&, const MuonParams&) {
  return 0;
}
const MuonRow kNothing{{"nothing", DeviceKind::cpu, true}, {}, no_workspace, nothing};

/// How far f32 arithmetic may be from exact in one step of one iteration, element by element: first-order
/// error propagation through the formula, a rounding for each product and each addition of the sums.
class Bounds {
 public:
  Bounds(const Step& before, const MuonMatrix& matrix)
      : rows_(matrix.rows),
        columns_(matrix.columns),
        m_(std::min(rows_, columns_)),
        n_(std::max(rows_, columns_)) {
    const std::vector<double> weight = before.weights.values(), wide = before.gradients.values(),
                              narrow = before.working_gradients.values(), b = before.buffer.values(),
                              rates = before.rates.values();
    const int byte =
        static_cast<int>(before.groups.values()[static_cast<std::size_t>(matrix.offset / kParameterSegment)]);
    const auto group = static_cast<std::size_t>(byte & ~kWorkingSegment);
    const MuonParams& params = before.params;
    const double factor = before.factor.values()[0];
    std::vector<double> u(size()), size_of_u(size());
    double square = 0.0, noise = 0.0, length = 0.0;
    for (std::size_t i = 0; i < size(); ++i) {
      const std::size_t at = static_cast<std::size_t>(matrix.offset) + i;
      const double g = factor * (params.mixed() && byte & kWorkingSegment ? narrow[at] : wide[at]);
      const double next = params.momentum * b[at] + g;
      const double magnitude = params.momentum * std::fabs(b[at]) + std::fabs(g);
      buffer_error.push_back(4 * kU * magnitude);
      u[i] = g + params.momentum * next;
      size_of_u[i] = std::fabs(g) + params.momentum * magnitude;
      square += u[i] * u[i];
      noise += std::fabs(u[i]) * 8 * kU * size_of_u[i];
      length += weight[at] * weight[at];
    }
    const double norm = std::sqrt(square), norm_error = noise / square + 4 * kU;  // relative
    std::vector<double> x(size()), x_error(size());
    for (std::size_t i = 0; i < size(); ++i) {
      const auto row = static_cast<std::int64_t>(i) / columns_,
                 column = static_cast<std::int64_t>(i) % columns_;
      const auto at =
          static_cast<std::size_t>(rows_ > columns_ ? column * rows_ + row : row * columns_ + column);
      x[at] = u[i] / (norm + kMuonEps);
      x_error[at] = 8 * kU * size_of_u[i] / norm + std::fabs(x[at]) * norm_error;
    }
    iterate(x, x_error);
    const double rate = rates[2 * group], decay = rates[2 * group + 1];
    const double keep =
        params.normalise ? std::sqrt(static_cast<double>(rows_) / length) : 1.0 + rate * decay;
    const double stretch =
        std::sqrt(std::max(1.0, static_cast<double>(rows_) / static_cast<double>(columns_)));
    for (std::size_t i = 0; i < size(); ++i) {
      const auto row = static_cast<std::int64_t>(i) / columns_,
                 column = static_cast<std::int64_t>(i) % columns_;
      const auto at =
          static_cast<std::size_t>(rows_ > columns_ ? column * rows_ + row : row * columns_ + column);
      weight_error.push_back(8 * kU * keep * std::fabs(weight[static_cast<std::size_t>(matrix.offset) + i]) +
                             rate * stretch * (x_error[at] + 8 * kU * std::fabs(x[at])));
    }
  }

  std::vector<double> buffer_error, weight_error;  // of each element of the matrix

 private:
  static constexpr double kU = 0x1p-24;

  std::size_t size() const { return static_cast<std::size_t>(rows_ * columns_); }

  void iterate(std::vector<double>& x, std::vector<double>& error) const {
    const auto m = static_cast<std::size_t>(m_), n = static_cast<std::size_t>(n_);
    const double terms_n = static_cast<double>(n_ + 2) * kU, terms_m = static_cast<double>(m_ + 2) * kU;
    std::vector<double> g(m * m), g_error(m * m), poly(m * m), poly_error(m * m);
    for (std::size_t i = 0; i < m; ++i)
      for (std::size_t j = 0; j < m; ++j)
        for (std::size_t k = 0; k < n; ++k) {
          const double a = x[i * n + k], b = x[j * n + k];
          g[i * m + j] += a * b;
          g_error[i * m + j] +=
              terms_n * std::fabs(a * b) + error[i * n + k] * std::fabs(b) + std::fabs(a) * error[j * n + k];
        }
    for (std::size_t i = 0; i < m; ++i)
      for (std::size_t j = 0; j < m; ++j) {
        double sum = 0.0, sum_error = 0.0;
        for (std::size_t k = 0; k < m; ++k) {
          const double a = g[i * m + k], b = g[k * m + j];
          sum += a * b;
          sum_error += terms_m * std::fabs(a * b) + g_error[i * m + k] * std::fabs(b) +
                       std::fabs(a) * g_error[k * m + j];
        }
        poly[i * m + j] = kMuonB * g[i * m + j] + kMuonC * sum;
        poly_error[i * m + j] = std::fabs(kMuonB) * (g_error[i * m + j] + 4 * kU * std::fabs(g[i * m + j])) +
                                kMuonC * (sum_error + 4 * kU * std::fabs(sum));
      }
    std::vector<double> next(m * n), next_error(m * n);
    for (std::size_t i = 0; i < m; ++i)
      for (std::size_t j = 0; j < n; ++j) {
        double sum = 0.0, sum_error = 0.0;
        for (std::size_t k = 0; k < m; ++k) {
          const double a = poly[i * m + k], b = x[k * n + j];
          sum += a * b;
          sum_error += terms_m * std::fabs(a * b) + poly_error[i * m + k] * std::fabs(b) +
                       std::fabs(a) * error[k * n + j];
        }
        next[i * n + j] = kMuonA * x[i * n + j] + sum;
        next_error[i * n + j] = kMuonA * (error[i * n + j] + 4 * kU * std::fabs(x[i * n + j])) + sum_error +
                                4 * kU * std::fabs(sum);
      }
    x = next;
    error = next_error;
  }

  std::int64_t rows_, columns_, m_, n_;
};

/// Relative L2 distance of the matrices' moves.
double distance(const Step& step, const Step& exact, const std::vector<double>& before) {
  const std::vector<double> ours = step.weights.values(), theirs = exact.weights.values();
  double difference = 0.0, size = 0.0;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    difference += std::pow(ours[i] - theirs[i], 2);
    size += std::pow(theirs[i] - before[i], 2);
  }
  return std::sqrt(difference / size);
}

const Sizes kSizes[] = {
    {{1, 1}},
    {{16, 144}},                            // ResNet-20's
    {{32, 16}, {5, 7}, {9, 2}, {33, 100}},  // tall ones, and sizes that no vector divides
    {{128, 20}, {132, 136}, {8, 64}},       // large tiles, and vectors
    {{130, 131}},                           // large tiles without
    Sizes(67, {4, 8}),                      // more than a launch takes
};

}  // namespace

// Three steps on one matrix in PyTorch 1.13, float64: momentum 0.9, Nesterov's, lr 0.1, weight decay 0.05; 5
// iterations, or 3 and normalised weights.
TEST_CASE("muon agrees with PyTorch", "[kernels][muon]") {
  struct Golden {
    std::int64_t rows, columns, iterations;
    bool normalise;
    std::vector<double> weights, buffer;
  };
  const std::vector<double> buffer{0.421, 1.088, -0.117, 0.534, -0.825, 0.856};
  const Golden goldens[] = {{2,
                             3,
                             5,
                             false,
                             {1.02390044036936, -2.059970964159676, 0.40892738758418185, 0.047069618561084985,
                              -0.6081578096282866, 1.344886743213522},
                             buffer},
                            {2,
                             3,
                             3,
                             true,
                             {0.5384929704142365, -1.093137708170451, 0.17455692074695697,
                              -0.06296604607982025, -0.24449306190707945, 0.6223278002400732},
                             buffer},
                            {3,
                             2,
                             5,
                             false,
                             {0.9541497250951569, -2.116702300231856, 0.38497858048956585,
                              0.12359838458864482, -0.5698786005400612, 1.265204688027913},
                             buffer},
                            {3,
                             2,
                             3,
                             true,
                             {0.61365188480114, -1.4283430927098573, 0.19367520244602857,
                              0.024510463298924087, -0.31156420836249055, 0.7361844723959506},
                             buffer}};
  const std::vector<std::vector<double>> gradients = {
      {0.1, -0.2, 0.3, 0.4, -0.5, 0.6}, {-0.4, 0.5, 0.6, -0.1, 0.2, 0.3}, {0.7, 0.8, -0.9, 0.3, -0.6, 0.1}};
  const auto segment = [](std::vector<double> values) {
    values.resize(kParameterSegment, 0.0);
    return values;
  };
  for (const Golden& golden : goldens)
    for_each_row(muon_rows(), [&](Context& context, const MuonRow& row) {
      for (const DType dtype : {DType::f64, DType::f32}) {
        const MuonParams params{{kParameterSegment, 1, dtype, dtype},
                                0.9,
                                golden.iterations,
                                golden.normalise,
                                {{0, golden.rows, golden.columns}}};
        if (!row.supports(params)) continue;
        const Operand weights(context, dtype, {kParameterSegment},
                              segment({1.0, -2.0, 0.5, 0.25, -0.75, 1.5}));
        const Operand moment(context, dtype, {kParameterSegment}, segment({}));
        const Operand groups(context, DType::u8, {1}, {0}), rates(context, dtype, {1, 2}, {0.1, 0.05});
        const Operand scratch =
            Operand::unset(context, DType::u8, {static_cast<std::int64_t>(row.workspace(context, params))});
        for (const auto& values : gradients) {
          const Operand gradient(context, dtype, {kParameterSegment}, segment(values));
          row.step(context, params, {weights, gradient, groups, rates}, moment, scratch.workspace());
        }
        // f64: PyTorch's own rounding. f32: 3 steps whose iterations multiply an error by 3.5 each at most.
        const double u = unit_roundoff(dtype);
        check_close(weights.values(), segment(golden.weights),
                    [&](std::size_t i) { return i < 6 ? 3 * 600 * 4 * u : 0.0; });
        check_close(moment.values(), segment(golden.buffer),
                    [&](std::size_t i) { return i < 6 ? 30 * 2 * u : 0.0; });
      }
    });
}

TEST_CASE("an iteration of every muon row agrees with the reference", "[kernels][muon]") {
  Context host({DeviceKind::cpu, 0});
  for (const Sizes& sizes : kSizes)
    for (const auto& [working, normalise] :
         {std::pair{DType::f32, false}, std::pair{DType::bf16, true}, std::pair{DType::f16, false}}) {
      const MuonParams wide = params_of(sizes, DType::f64, working, 1, normalise),
                       params = params_of(sizes, DType::f32, working, 1, normalise);
      const Step before(host, kNothing, wide), exact(host, reference::muon_row, wide);
      std::vector<double> weight_bound(static_cast<std::size_t>(params.elements)),
          buffer_bound = weight_bound;
      for (const MuonMatrix& matrix : wide.matrices) {
        const Bounds bounds(before, matrix);
        std::copy(bounds.weight_error.begin(), bounds.weight_error.end(),
                  weight_bound.begin() + matrix.offset);
        std::copy(bounds.buffer_error.begin(), bounds.buffer_error.end(),
                  buffer_bound.begin() + matrix.offset);
      }
      for_each_row(muon_rows(), [&](Context& context, const MuonRow& row) {
        INFO(params.to_string());
        REQUIRE(row.supports(params));
        const Step step(context, row, params);
        CHECK(step.intact());
        check_close(step.weights.values(), exact.weights.values(),
                    [&](std::size_t i) { return weight_bound[i]; });
        check_close(step.buffer.values(), exact.buffer.values(),
                    [&](std::size_t i) { return buffer_bound[i]; });
        if (!params.mixed()) return;
        // A working matrix is its row's own weights, rounded; the rest is left alone.
        const std::vector<double> weights = step.weights.values(), groups = step.groups.values();
        std::vector<double> expected = before.working_weights.values();
        for (std::size_t i = 0; i < expected.size(); ++i)
          if (static_cast<int>(groups[i / kParameterSegment]) & kWorkingSegment)
            expected[i] = rounded(params.working, weights[i]);
        CHECK(step.working_weights.values() == expected);
      });
    }
}

// A bound through five iterations would be loose beyond use, so errors are held against those of plain loops.
TEST_CASE("five iterations of every muon row are as exact as plain loops in f32", "[kernels][muon]") {
  Context host({DeviceKind::cpu, 0});
  for (const Sizes& sizes : kSizes) {
    const MuonParams wide = params_of(sizes, DType::f64, DType::f32, 5, false),
                     params = params_of(sizes, DType::f32, DType::f32, 5, false);
    const Step exact(host, reference::muon_row, wide), plain(host, reference::muon_row, params);
    const std::vector<double> before = Step(host, kNothing, wide).weights.values();
    const double limit = 4 * distance(plain, exact, before) + 1e-6;
    CHECK(limit < 1e-4);
    for_each_row(muon_rows(), [&](Context& context, const MuonRow& row) {
      INFO(params.to_string());
      CHECK(distance(Step(context, row, params), exact, before) <= limit);
    });
  }
}

TEST_CASE("muon's step is nearly orthogonal", "[kernels][muon]") {
  Context context({DeviceKind::cpu, 0});
  const MuonParams params = params_of({{8, 24}}, DType::f64, DType::f32, 5, false);
  const std::vector<double> before = Step(context, kNothing, params).weights.values();
  const std::vector<double> after = Step(context, reference::muon_row, params).weights.values();
  const MuonMatrix& matrix = params.matrices[0];
  // w' = (1 - 0.0625 * 0.5) w - 0.0625 x: the squares of x's singular values lie between 0.4 and 1.5.
  const auto x = [&](std::int64_t row, std::int64_t column) {
    const auto at = static_cast<std::size_t>(matrix.offset + row * 24 + column);
    return ((1.0 - 0.03125) * before[at] - after[at]) / 0.0625;
  };
  double trace = 0.0, squares = 0.0;
  for (std::int64_t i = 0; i < 8; ++i)
    for (std::int64_t j = 0; j < 8; ++j) {
      double sum = 0.0;
      for (std::int64_t k = 0; k < 24; ++k) sum += x(i, k) * x(j, k);
      if (i == j) trace += sum;
      squares += sum * sum;
    }
  CHECK(trace > 8 * 0.4);
  CHECK(trace < 8 * 1.5);
  CHECK(squares - trace * trace / 8 < 8 * 0.3);  // eight times the variance of the squares
}

TEST_CASE("every muon row gives the same bits again", "[kernels][muon]") {
  const MuonParams params = params_of({{16, 36}, {12, 5}}, DType::f32, DType::bf16, 2, true);
  for_each_row(muon_rows(), [&](Context& context, const MuonRow& row) {
    check_same_bits(row, [&] { return Step(context, row, params).written(); });
  });
}

TEST_CASE("a negative gradient factor skips the muon step", "[kernels][muon]") {
  const MuonParams params = params_of({{16, 36}, {12, 5}}, DType::f32, DType::bf16, 2, true);
  for_each_row(muon_rows(), [&](Context& context, const MuonRow& row) {
    CHECK(Step(context, row, params, -1.0).written() == Step(context, kNothing, params).written());
  });
}

TEST_CASE("a matrix without a gradient only decays", "[kernels][muon]") {
  MuonParams params = params_of({{4, 8}}, DType::f32, DType::f32, 5, false);
  params.momentum = 0.0;
  for_each_row(muon_rows(), [&](Context& context, const MuonRow& row) {
    const Step step(context, row, params, 0.0);
    const std::vector<double> before = Step(context, kNothing, params).weights.values();
    std::vector<double> expected = before;
    for (std::size_t i = 64; i < 96; ++i) expected[i] = rounded(DType::f32, 0.96875 * before[i]);
    CHECK(step.weights.values() == expected);
  });
}

TEST_CASE("muon refuses bad arguments", "[kernels][muon]") {
  Context context({DeviceKind::cpu, 0});
  const MuonParams good = params_of({{4, 8}}, DType::f32, DType::f32, 5, false);
  const Step step(context, kNothing, good);
  const auto call = [&](const MuonParams& params, TensorView buffer, Workspace workspace = {}) {
    return [&context, &step, params, buffer, workspace] {
      muon_step(context, params, step.operands(), buffer, workspace);
    };
  };
  MuonParams bad = good;
  bad.elements = 100;
  check_usage_error(call(bad, step.buffer), "muon: 100 elements are not whole segments of 64");
  bad = good;
  bad.momentum = 1.0;
  check_usage_error(call(bad, step.buffer), "muon: momentum is 1, expected 0 <= momentum < 1");
  bad = good;
  bad.iterations = 0;
  check_usage_error(call(bad, step.buffer), "muon: 0 iterations, expected 1 to 32");
  bad = good;
  bad.matrices[0].offset = 65;
  check_usage_error(call(bad, step.buffer), "muon: no 4 x 8 matrix starts at element 65 of 128");
  bad = good;
  bad.matrices[0].rows = 9;
  check_usage_error(call(bad, step.buffer), "muon: no 9 x 8 matrix starts at element 64 of 128");
  check_usage_error(call(good, TensorView()), "muon: momentum_buffer is missing");
  const std::size_t needed = muon_workspace(context, good);
  check_usage_error(call(good, step.buffer),
                    "muon: the workspace has 0 bytes, " + std::to_string(needed) + " are needed");
}
