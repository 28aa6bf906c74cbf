#pragma once

#include <memory>
#include <span>
#include <vector>

#include "kernels/core/context.h"

namespace zeroth {

/// A contiguous tensor on one device: a value that shares its storage. Copying copies the handle, never the
/// elements; reshape and slice are views of the same storage. Nothing moves between devices by itself.
class Tensor {
 public:
  Tensor() = default;

  /// Contents undefined.
  static Tensor empty(Context& context, const Shape& shape, DType dtype);
  static Tensor zeros(Context& context, const Shape& shape, DType dtype);
  /// Zeros in host memory that the context's device copies from and to without a detour, which is for rows of
  /// the cpu, and not for those of that device.
  static Tensor pinned(Context& context, const Shape& shape, DType dtype);
  /// Copies `elements` to the device and waits for it.
  template <class T>
  static Tensor from_host(Context& context, const Shape& shape, std::span<const T> elements) {
    return from_host_bytes(context, shape, dtype_of<T>, std::as_bytes(elements));
  }
  static Tensor from_host_bytes(Context& context, const Shape& shape, DType dtype,
                                std::span<const std::byte> bytes);

  bool defined() const { return storage_ != nullptr; }
  /// Whether it was made by pinned().
  bool is_pinned() const;
  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  std::int64_t elements() const { return shape_.elements(); }
  std::size_t bytes() const { return static_cast<std::size_t>(elements()) * size_of(dtype_); }

  /// The same elements under another shape of as many elements.
  Tensor reshape(const Shape& shape) const;
  /// Rows [begin, begin + count) of the first dimension.
  Tensor slice(std::int64_t begin, std::int64_t count) const;
  /// Elements [begin, begin + shape.elements()) of the storage order, under `shape`.
  Tensor range(std::int64_t begin, const Shape& shape) const;

  operator TensorView() const { return {data(), shape_, dtype_}; }
  operator ConstTensorView() const { return {data(), shape_, dtype_}; }

  /// Copies the elements to the host, waiting for the stream.
  template <class T>
  std::vector<T> to_host(const Context& context) const {
    std::vector<T> elements(static_cast<std::size_t>(this->elements()));
    static_cast<void>(ConstTensorView(*this).as<T>());  // the dtype must be T's
    copy_to(context, std::as_writable_bytes(std::span<T>(elements)));
    return elements;
  }
  /// Copies the bytes to the host, waiting for the stream. `to` has exactly bytes() bytes.
  void copy_to(const Context& context, std::span<std::byte> to) const;
  /// Copies from the host, waiting for the stream. `from` has exactly bytes() bytes.
  void copy_from(const Context& context, std::span<const std::byte> from) const;

 private:
  struct Storage;

  void* data() const;

  std::shared_ptr<Storage> storage_;
  std::size_t offset_ = 0;  // bytes
  Shape shape_;
  DType dtype_ = DType::f32;
};

}  // namespace zeroth
