#include "kernels/check/winograd_magnitude.h"

#include <array>
#include <cmath>

namespace zeroth::check {

namespace {

template <std::size_t kRows, std::size_t kColumns>
using Matrix = std::array<std::array<double, kColumns>, kRows>;

/// Magnitudes of the matrices of Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016,
/// for the points 0, +-sqrt(1/2), +-sqrt(2) and infinity.
constexpr double kNear = 0.70710678118654752, kFar = 1.41421356237309505;
constexpr Matrix<6, 6> kInput = {{{1, 0, 5. / 2, 0, 1, 0},
                                  {0, 2 * kNear, 2, kNear, 1, 0},
                                  {0, 2 * kNear, 2, kNear, 1, 0},
                                  {0, kFar / 2, 1. / 2, kFar, 1, 0},
                                  {0, kFar / 2, 1. / 2, kFar, 1, 0},
                                  {0, 1, 0, 5. / 2, 0, 1}}};
constexpr Matrix<6, 3> kFilter = {{{1, 0, 0},
                                   {2. / 3, 2. / 3 * kNear, 1. / 3},
                                   {2. / 3, 2. / 3 * kNear, 1. / 3},
                                   {1. / 6, kFar / 6, 1. / 3},
                                   {1. / 6, kFar / 6, 1. / 3},
                                   {0, 0, 1}}};
constexpr Matrix<4, 6> kOutput = {{{1, 1, 1, 1, 1, 0},
                                   {0, kNear, kNear, kFar, kFar, 0},
                                   {0, 1. / 2, 1. / 2, 2, 2, 0},
                                   {0, kNear / 2, kNear / 2, 2 * kFar, 2 * kFar, 1}}};

template <std::size_t kRows, std::size_t kColumns>
constexpr Matrix<kColumns, kRows> transposed(const Matrix<kRows, kColumns>& m) {
  Matrix<kColumns, kRows> result{};
  for (std::size_t i = 0; i < kRows; ++i)
    for (std::size_t j = 0; j < kColumns; ++j) result[j][i] = m[i][j];
  return result;
}

/// m s m^T
template <std::size_t kTo, std::size_t kFrom>
Matrix<kTo, kTo> map(const Matrix<kTo, kFrom>& m, const Matrix<kFrom, kFrom>& s) {
  Matrix<kTo, kTo> result{};
  for (std::size_t i = 0; i < kTo; ++i)
    for (std::size_t j = 0; j < kTo; ++j)
      for (std::size_t a = 0; a < kFrom; ++a)
        for (std::size_t b = 0; b < kFrom; ++b) result[i][j] += m[i][a] * s[a][b] * m[j][b];
  return result;
}

/// The square of side kSide of |pictures| (n, h, w, channels) that begins at (row, column), zeros outside.
template <std::size_t kSide>
Matrix<kSide, kSide> square(const Conv2dParams& p, const std::vector<double>& pictures, std::int64_t channels,
                            std::int64_t n, std::int64_t row, std::int64_t column, std::int64_t channel) {
  Matrix<kSide, kSide> result{};
  for (std::size_t i = 0; i < kSide; ++i)
    for (std::size_t j = 0; j < kSide; ++j) {
      const auto r = row + static_cast<std::int64_t>(i), c = column + static_cast<std::int64_t>(j);
      if (r >= 0 && c >= 0 && r < p.h && c < p.w)
        result[i][j] =
            std::fabs(pictures[static_cast<std::size_t>(((n * p.h + r) * p.w + c) * channels + channel)]);
    }
  return result;
}

/// The filter from channel c to channel k, turned by half a turn where the pass is backward data.
Matrix<3, 3> filter(const Conv2dParams& p, const std::vector<double>& w, std::int64_t k, std::int64_t c,
                    bool turned) {
  Matrix<3, 3> result{};
  for (std::int64_t tap = 0; tap < 9; ++tap) {
    const std::int64_t from = turned ? 8 - tap : tap;
    result[static_cast<std::size_t>(tap / 3)][static_cast<std::size_t>(tap % 3)] =
        std::fabs(w[static_cast<std::size_t>((k * 9 + from) * p.c + c)]);
  }
  return result;
}

template <class Body>
void for_each_tile(const Conv2dParams& p, Body&& body) {
  for (std::int64_t n = 0; n < p.n; ++n)
    for (std::int64_t row = 0; row < p.h; row += 4)
      for (std::int64_t column = 0; column < p.w; column += 4) body(n, row, column);
}

void add_products(Matrix<6, 6>& sum, const Matrix<6, 6>& a, const Matrix<6, 6>& b) {
  for (std::size_t i = 0; i < 6; ++i)
    for (std::size_t j = 0; j < 6; ++j) sum[i][j] += a[i][j] * b[i][j];
}

/// Forward, and backward data with the roles of channels exchanged.
void convolve(const Conv2dParams& p, bool backward, const std::vector<double>& in,
              const std::vector<double>& w, std::vector<double>& out) {
  const std::int64_t depth = backward ? p.k : p.c, width = backward ? p.c : p.k;
  std::vector<Matrix<6, 6>> filters;
  for (std::int64_t o = 0; o < width; ++o)
    for (std::int64_t i = 0; i < depth; ++i)
      filters.push_back(map(kFilter, backward ? filter(p, w, i, o, true) : filter(p, w, o, i, false)));
  for_each_tile(p, [&](std::int64_t n, std::int64_t row, std::int64_t column) {
    std::vector<Matrix<6, 6>> points;
    for (std::int64_t i = 0; i < depth; ++i)
      points.push_back(map(kInput, square<6>(p, in, depth, n, row - 1, column - 1, i)));
    for (std::int64_t o = 0; o < width; ++o) {
      Matrix<6, 6> sum{};
      for (std::int64_t i = 0; i < depth; ++i)
        add_products(sum, points[static_cast<std::size_t>(i)],
                     filters[static_cast<std::size_t>(o * depth + i)]);
      const Matrix<4, 4> tile = map(kOutput, sum);
      for (std::int64_t r = row; r < std::min(row + 4, p.h); ++r)
        for (std::int64_t c = column; c < std::min(column + 4, p.w); ++c)
          out[static_cast<std::size_t>(((n * p.h + r) * p.w + c) * width + o)] +=
              tile[static_cast<std::size_t>(r - row)][static_cast<std::size_t>(c - column)];
    }
  });
}

void correlate(const Conv2dParams& p, const std::vector<double>& x, const std::vector<double>& dy,
               std::vector<double>& dw) {
  std::vector<Matrix<6, 6>> sums(static_cast<std::size_t>(p.k * p.c));
  for_each_tile(p, [&](std::int64_t n, std::int64_t row, std::int64_t column) {
    std::vector<Matrix<6, 6>> inputs;
    for (std::int64_t c = 0; c < p.c; ++c)
      inputs.push_back(map(kInput, square<6>(p, x, p.c, n, row - 1, column - 1, c)));
    for (std::int64_t k = 0; k < p.k; ++k) {
      const Matrix<6, 6> gradient = map(transposed(kOutput), square<4>(p, dy, p.k, n, row, column, k));
      for (std::int64_t c = 0; c < p.c; ++c)
        add_products(sums[static_cast<std::size_t>(k * p.c + c)], inputs[static_cast<std::size_t>(c)],
                     gradient);
    }
  });
  for (std::int64_t k = 0; k < p.k; ++k)
    for (std::int64_t c = 0; c < p.c; ++c) {
      const Matrix<3, 3> taps = map(transposed(kFilter), sums[static_cast<std::size_t>(k * p.c + c)]);
      for (std::int64_t tap = 0; tap < 9; ++tap)
        dw[static_cast<std::size_t>((k * 9 + tap) * p.c + c)] +=
            taps[static_cast<std::size_t>(tap / 3)][static_cast<std::size_t>(tap % 3)];
    }
}

}  // namespace

Values winograd_magnitude(const Conv2dParams& p, Conv2dPass pass, const Values& before, GradMode mode) {
  Values result(3);
  if (p.r != 3 || p.s != 3 || p.stride != 1 || p.padding != 1) return result;
  const Shape shape = pass == Conv2dPass::forward         ? p.y_shape()
                      : pass == Conv2dPass::backward_data ? p.x_shape()
                                                          : p.w_shape();
  result[2].assign(static_cast<std::size_t>(shape.elements()), 0.0);
  if (mode == GradMode::accumulate)
    for (std::size_t i = 0; i < result[2].size(); ++i) result[2][i] = std::fabs(before[2][i]);
  if (pass == Conv2dPass::backward_weight)
    correlate(p, before[0], before[1], result[2]);
  else
    convolve(p, pass == Conv2dPass::backward_data, before[0], before[1], result[2]);
  return result;
}

}  // namespace zeroth::check
