#include "kernels/core/shape.h"

#include "kernels/core/error.h"

namespace zeroth {

Shape::Shape(std::initializer_list<std::int64_t> extents) {
  require(extents.size() <= kMaxRank, "a shape has at most four extents");
  for (const std::int64_t extent : extents) {
    require(extent >= 0, "a shape has no negative extents");
    extents_[static_cast<std::size_t>(rank_++)] = extent;
  }
}

std::int64_t Shape::elements() const {
  std::int64_t product = 1;
  for (int axis = 0; axis < rank_; ++axis) product *= (*this)[axis];
  return product;
}

Shape Shape::with_first(std::int64_t extent) const {
  require(rank_ > 0, "a scalar has no first extent");
  Shape result = *this;
  result.extents_[0] = extent;
  return result;
}

std::string Shape::to_string() const {
  std::string text = "(";
  for (int axis = 0; axis < rank_; ++axis) {
    if (axis > 0) text += ", ";
    text += std::to_string((*this)[axis]);
  }
  return text + ")";
}

}  // namespace zeroth
