#include "models/whitening.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace zeroth {

namespace {

/// Rotates rows and columns p and q of a symmetric matrix so that its element (p, q) becomes 0, and the rows
/// of `vectors` with them (Golub and Van Loan, "Matrix Computations", 8.5).
void rotate(std::vector<double>& matrix, std::vector<double>& vectors, std::size_t n, std::size_t p,
            std::size_t q) {
  const double apq = matrix[p * n + q];
  if (apq == 0.0) return;
  const double tau = (matrix[q * n + q] - matrix[p * n + p]) / (2.0 * apq);
  const double t = (tau >= 0.0 ? 1.0 : -1.0) / (std::fabs(tau) + std::sqrt(1.0 + tau * tau));
  const double cosine = 1.0 / std::sqrt(1.0 + t * t), sine = t * cosine;
  const auto turn = [=](double& a, double& b) {
    const double before = a;
    a = cosine * before - sine * b;
    b = sine * before + cosine * b;
  };
  for (std::size_t i = 0; i < n; ++i) turn(matrix[p * n + i], matrix[q * n + i]);
  for (std::size_t i = 0; i < n; ++i) turn(matrix[i * n + p], matrix[i * n + q]);
  for (std::size_t i = 0; i < n; ++i) turn(vectors[p * n + i], vectors[q * n + i]);
}

/// Second moments of all patches, (D, D): a patch runs over window rows of window pixels.
std::vector<double> patch_moments(const WhiteningSample& sample, std::int64_t window) {
  const std::int64_t row = window * sample.channels;
  const auto d = static_cast<std::size_t>(window * row);
  std::vector<double> sums(d * d), patch(d);
  const auto pixel = [&](std::int64_t n, std::int64_t y, std::int64_t x) {
    return sample.values.data() + ((n * sample.height + y) * sample.width + x) * sample.channels;
  };
  for (std::int64_t n = 0; n < sample.count; ++n)
    for (std::int64_t y = 0; y + window <= sample.height; ++y)
      for (std::int64_t x = 0; x + window <= sample.width; ++x) {
        for (std::int64_t r = 0; r < window; ++r)
          std::copy_n(pixel(n, y + r, x), row, patch.begin() + r * row);
        for (std::size_t i = 0; i < d; ++i)
          for (std::size_t j = 0; j <= i; ++j) sums[i * d + j] += patch[i] * patch[j];
      }
  const double patches =
      static_cast<double>(sample.count * (sample.height - window + 1) * (sample.width - window + 1));
  for (std::size_t i = 0; i < d; ++i)
    for (std::size_t j = 0; j <= i; ++j) sums[i * d + j] = sums[j * d + i] = sums[i * d + j] / patches;
  return sums;
}

}  // namespace

Eigen eigen_decomposition(std::vector<double> matrix, std::size_t n) {
  constexpr int kSweeps = 30;  // a few suffice: convergence is quadratic
  std::vector<double> vectors(n * n);
  for (std::size_t i = 0; i < n; ++i) vectors[i * n + i] = 1.0;
  for (int sweep = 0; sweep < kSweeps; ++sweep)
    for (std::size_t p = 0; p < n; ++p)
      for (std::size_t q = p + 1; q < n; ++q) rotate(matrix, vectors, n, p, q);
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return matrix[a * n + a] > matrix[b * n + b]; });
  Eigen result;
  for (const std::size_t i : order) {
    result.values.push_back(matrix[i * n + i]);
    result.vectors.insert(result.vectors.end(), vectors.begin() + static_cast<std::ptrdiff_t>(i * n),
                          vectors.begin() + static_cast<std::ptrdiff_t>((i + 1) * n));
  }
  return result;
}

std::vector<float> whitening_filters(const WhiteningSample& sample, std::int64_t window, double eps) {
  const auto d = static_cast<std::size_t>(window * window * sample.channels);
  const Eigen eigen = eigen_decomposition(patch_moments(sample, window), d);
  std::vector<float> filters;
  for (const double sign : {1.0, -1.0})
    for (std::size_t i = 0; i < d; ++i)
      for (std::size_t j = 0; j < d; ++j)
        filters.push_back(static_cast<float>(sign * eigen.vectors[i * d + j] /
                                             std::sqrt(std::max(eigen.values[i], 0.0) + eps)));
  return filters;
}

}  // namespace zeroth
