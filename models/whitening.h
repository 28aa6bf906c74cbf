#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace zeroth {

/// Eigenvalues of a symmetric matrix (n x n, row by row), the largest first, and the eigenvectors, one a row,
/// by Jacobi's rotations.
struct Eigen {
  std::vector<double> values, vectors;
};
Eigen eigen_decomposition(std::vector<double> matrix, std::size_t n);

/// Pictures (count, height, width, channels) of normalised values.
struct WhiteningSample {
  std::span<const float> values;
  std::int64_t count, height, width, channels;
};

/// Filters (2 D, window, window, channels) that whiten patches of pictures, D = window * window * channels:
/// the eigenvectors of the patches' second moments, each divided by the root of its eigenvalue + `eps`, and
/// the same with the other sign, so that a rectifier behind them loses nothing (D. Page, "How to train your
/// ResNet 8", 2019; tysam, hlb-CIFAR10, 2023).
std::vector<float> whitening_filters(const WhiteningSample& sample, std::int64_t window, double eps = 5e-4);

}  // namespace zeroth
