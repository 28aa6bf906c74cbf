#include "kernels/core/shape.h"

#include "kernels/core/error.h"

namespace zeroth {

namespace {

/// Names that come from files may hold anything: what would end the line, or command a terminal, is spelt
/// out.
std::string one_line(const std::string& message) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string line;
  for (const char letter : message) {
    const auto byte = static_cast<unsigned char>(letter);
    if (byte >= 0x20 && byte != 0x7f) {
      line += letter;
    } else {
      line += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return line;
}

}  // namespace

void fail(ErrorKind kind, const std::string& message) {
  throw Error(kind, one_line(message));
}

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
