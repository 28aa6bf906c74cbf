#pragma once

#include <cstddef>
#include <string>
#include <type_traits>

#include "kernels/core/dtype.h"
#include "kernels/core/shape.h"

namespace zeroth {

/// A contiguous tensor that somebody else owns: what kernels take. A null view stands for an absent operand.
template <class Byte>
struct BasicTensorView {
  Byte* data = nullptr;
  Shape shape;
  DType dtype = DType::f32;

  BasicTensorView() = default;
  BasicTensorView(Byte* start, const Shape& extents, DType type) : data(start), shape(extents), dtype(type) {}
  /// A view to write through serves as one to read from.
  template <class Other, class = std::enable_if_t<std::is_void_v<Other> && std::is_const_v<Byte>>>
  BasicTensorView(const BasicTensorView<Other>& other)
      : data(other.data), shape(other.shape), dtype(other.dtype) {}

  std::int64_t elements() const { return shape.elements(); }
  std::size_t bytes() const { return static_cast<std::size_t>(elements()) * size_of(dtype); }
  explicit operator bool() const { return data != nullptr; }

  /// The elements as T. Throws unless T is the view's dtype.
  template <class T>
  auto* as() const {
    using Element = std::conditional_t<std::is_const_v<Byte>, const T, T>;
    if (data != nullptr && dtype != dtype_of<T>)
      fail(ErrorKind::usage,
           std::string("a ") + name_of(dtype) + " tensor was read as " + name_of(dtype_of<T>));
    return static_cast<Element*>(data);
  }
};

using TensorView = BasicTensorView<void>;
using ConstTensorView = BasicTensorView<const void>;

/// Operands start on this boundary, so that kernels may load 16 bytes at a time from the first element on.
inline constexpr std::size_t kOperandAlignment = 16;

/// Throws Error(usage), naming operation, operand and both sides, unless the view has this shape and dtype,
/// is not null and is aligned.
void check_operand(const char* operation, const char* operand, ConstTensorView view, const Shape& shape,
                   DType dtype);

/// Scratch memory for one call; 256-byte aligned, contents undefined.
struct Workspace {
  void* data = nullptr;
  std::size_t bytes = 0;
};

/// Throws Error(usage), naming operation and both sizes, unless the workspace has at least `needed` bytes.
void check_workspace(const char* operation, Workspace workspace, std::size_t needed);

/// What a backward kernel does with a gradient buffer: leave it alone (the pointer may be null), write it, or
/// add to it. So nobody zeroes buffers.
enum class GradMode : std::uint8_t { skip, overwrite, accumulate };

}  // namespace zeroth
