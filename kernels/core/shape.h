#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace zeroth {

/// Up to four extents, stored inline. Pictures are (N, H, W, C), filters (K, R, S, C), matrices (rows,
/// columns).
class Shape {
 public:
  static constexpr int kMaxRank = 4;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents);

  int rank() const { return rank_; }
  std::int64_t operator[](int axis) const { return extents_[static_cast<std::size_t>(axis)]; }
  /// Number of elements; 1 for a scalar (rank 0).
  std::int64_t elements() const;
  /// The same shape with its first extent replaced.
  Shape with_first(std::int64_t extent) const;
  std::string to_string() const;  // "(128, 32, 32, 16)"

  bool operator==(const Shape&) const = default;

 private:
  std::array<std::int64_t, kMaxRank> extents_{};
  int rank_ = 0;
};

}  // namespace zeroth
