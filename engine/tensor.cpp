#include "engine/tensor.h"

#include <fmt/format.h>

#include <cstring>

namespace zeroth {

struct Tensor::Storage {
  Storage(Allocator& from, std::size_t size) : allocator(&from), data(from.allocate(size)) {}
  explicit Storage(std::unique_ptr<PinnedMemory> memory)
      : pinned(std::move(memory)), data(pinned->bytes().data()) {}
  ~Storage() {
    if (allocator != nullptr) allocator->release(data);
  }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  Allocator* allocator = nullptr;
  std::unique_ptr<PinnedMemory> pinned;
  void* data;
};

Tensor Tensor::empty(Context& context, const Shape& shape, DType dtype) {
  Tensor tensor;
  tensor.shape_ = shape;
  tensor.dtype_ = dtype;
  tensor.storage_ = std::make_shared<Storage>(context.allocator(), tensor.bytes());
  return tensor;
}

Tensor Tensor::zeros(Context& context, const Shape& shape, DType dtype) {
  Tensor tensor = empty(context, shape, dtype);
  context.memory().fill_zero(tensor.data(), tensor.bytes(), context.stream());
  return tensor;
}

Tensor Tensor::pinned(Context& context, const Shape& shape, DType dtype) {
  Tensor tensor;
  tensor.shape_ = shape;
  tensor.dtype_ = dtype;
  tensor.storage_ = std::make_shared<Storage>(
      std::make_unique<PinnedMemory>(context.memory(), context.device().index, tensor.bytes()));
  if (tensor.bytes() > 0) std::memset(tensor.data(), 0, tensor.bytes());
  return tensor;
}

bool Tensor::is_pinned() const {
  return storage_ != nullptr && storage_->pinned != nullptr;
}

Tensor Tensor::from_host_bytes(Context& context, const Shape& shape, DType dtype,
                               std::span<const std::byte> bytes) {
  Tensor tensor = empty(context, shape, dtype);
  tensor.copy_from(context, bytes);
  return tensor;
}

Tensor Tensor::reshape(const Shape& shape) const {
  if (shape.elements() != elements())
    fail(ErrorKind::usage,
         fmt::format("a tensor of shape {} cannot be reshaped to {}", shape_.to_string(), shape.to_string()));
  Tensor tensor = *this;
  tensor.shape_ = shape;
  return tensor;
}

Tensor Tensor::slice(std::int64_t begin, std::int64_t count) const {
  if (shape_.rank() == 0 || begin < 0 || count < 0 || begin + count > shape_[0])
    fail(ErrorKind::usage, fmt::format("rows {} to {} do not lie in a tensor of shape {}", begin,
                                       begin + count, shape_.to_string()));
  const std::int64_t row = shape_.with_first(1).elements();
  return range(begin * row, shape_.with_first(count));
}

Tensor Tensor::range(std::int64_t begin, const Shape& shape) const {
  if (begin < 0 || begin + shape.elements() > elements())
    fail(ErrorKind::usage, fmt::format("a range of shape {} at {} does not lie in a tensor of shape {}",
                                       shape.to_string(), begin, shape_.to_string()));
  Tensor tensor = *this;
  tensor.offset_ += static_cast<std::size_t>(begin) * size_of(dtype_);
  tensor.shape_ = shape;
  return tensor;
}

void Tensor::copy_to(const Context& context, std::span<std::byte> to) const {
  require(to.size() == bytes(), "a copy to the host needs a buffer of the tensor's size");
  if (to.empty()) return;
  if (is_pinned()) {
    context.synchronize();
    std::memcpy(to.data(), data(), to.size());
    return;
  }
  context.memory().copy_to_host(to.data(), data(), to.size(), context.stream());
  context.synchronize();
}

void Tensor::copy_from(const Context& context, std::span<const std::byte> from) const {
  require(from.size() == bytes(), "a copy from the host needs a buffer of the tensor's size");
  if (from.empty()) return;
  if (is_pinned()) {
    context.synchronize();
    std::memcpy(data(), from.data(), from.size());
    return;
  }
  context.memory().copy_to_device(data(), from.data(), from.size(), context.stream());
  context.synchronize();
}

void* Tensor::data() const {
  return storage_ == nullptr ? nullptr : static_cast<std::byte*>(storage_->data) + offset_;
}

}  // namespace zeroth
