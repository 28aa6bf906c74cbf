#include "apps/bench/rotation.h"

#include <algorithm>

#include "kernels/check/operand.h"

namespace zeroth::app {

namespace {

constexpr std::size_t kAlignment = 256;

bool read_before(check::Role role) {
  return role == check::Role::input || role == check::Role::inout;
}

/// Elements in the operand's dtype, `values` repeated; zeros where there are none.
std::vector<std::byte> element_bytes(DType dtype, std::int64_t elements, const std::vector<double>& values) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(elements) * size_of(dtype));
  if (values.empty()) return bytes;
  check::dispatch_any(dtype, [&]<class T>(TypeTag<T>) {
    auto* to = reinterpret_cast<T*>(bytes.data());
    const auto count = static_cast<std::size_t>(elements), drawn = std::min(values.size(), count);
    for (std::size_t i = 0; i < drawn; ++i) to[i] = check::element_from<T>(values[i]);
    for (std::size_t i = drawn; i < count; ++i) to[i] = to[i - drawn];
  });
  return bytes;
}

}  // namespace

std::byte* ReusedMemory::at_least(std::size_t bytes) {
  if (bytes > bytes_) {
    memory_.reset();  // first: both together may not fit
    bytes_ = 0;
    memory_.emplace(context_.memory(), context_.device().index, bytes);
    bytes_ = bytes;
  }
  return memory_ ? static_cast<std::byte*>(memory_->data()) : nullptr;
}

Rotation::Rotation(Context& context, ReusedMemory& reused, const check::KernelCase& call, DType storage,
                   const check::Values& values, std::size_t bytes)
    : context_(context) {
  place(reused, call, storage, bytes);
  const DeviceBackend& memory = context.memory();
  for (std::size_t i = 0; i < call.operands.size(); ++i) {
    const check::OperandSpec& spec = call.operands[i];
    const DType dtype = spec.dtype(storage);
    const Buffer& buffer = buffers_[i];
    if (spec.aliases < 0) {
      const std::vector<std::byte> first = element_bytes(dtype, spec.shape.elements(), values[i]);
      memory.copy_to_device(buffer.base, first.data(), first.size(), context.stream());
      context.synchronize();
      repeat_first(buffer);
      if (buffer.pristine != nullptr)
        memory.copy_on_device(buffer.pristine, buffer.base, buffer.stride, context.stream());
    }
    for (std::size_t set = 0; set < sets(); ++set)
      views_[set][i] = spec.aliases >= 0
                           ? views_[set][static_cast<std::size_t>(spec.aliases)]
                           : TensorView(buffer.base + set % buffer.sets * buffer.stride, spec.shape, dtype);
  }
  context.synchronize();
}

void Rotation::place(ReusedMemory& reused, const check::KernelCase& call, DType storage, std::size_t bytes) {
  const auto stride_of = [&](const check::OperandSpec& spec) {
    const std::size_t size = static_cast<std::size_t>(spec.shape.elements()) * size_of(spec.dtype(storage));
    return (size + kAlignment - 1) / kAlignment * kAlignment;
  };
  std::size_t once = 0;
  for (const check::OperandSpec& spec : call.operands)
    if (spec.aliases < 0 && spec.role != check::Role::untouched) once += stride_of(spec);
  const std::size_t sets = std::max<std::size_t>((bytes + once) / std::max<std::size_t>(once, 1), 1);
  bytes_ = sets * once;
  views_.assign(sets, std::vector<TensorView>(call.operands.size()));

  std::size_t total = kAlignment;
  for (std::size_t i = 0; i < call.operands.size(); ++i) {
    const check::OperandSpec& spec = call.operands[i];
    const bool overwritten = std::any_of(call.operands.begin(), call.operands.end(), [&](const auto& other) {
      return other.aliases == static_cast<int>(i);
    });
    Buffer buffer{nullptr, nullptr, stride_of(spec), sets,
                  spec.aliases < 0 && read_before(spec.role) && (overwritten || spec.written())};
    // An operand that the call leaves alone needs a place, but no rotation; one that aliases another, none.
    if (spec.role == check::Role::untouched) buffer.sets = 1;
    if (spec.aliases >= 0) buffer.sets = 0;
    total += (buffer.sets + (buffer.refreshed ? 1 : 0)) * buffer.stride;
    buffers_.push_back(buffer);
  }
  std::byte* next = reused.at_least(total);
  for (Buffer& buffer : buffers_) {
    buffer.base = next;
    next += buffer.sets * buffer.stride;
    if (!buffer.refreshed) continue;
    buffer.pristine = next;
    next += buffer.stride;
  }
}

void Rotation::repeat_first(const Buffer& buffer) const {
  for (std::size_t done = 1; done < buffer.sets;) {
    const std::size_t more = std::min(done, buffer.sets - done);
    context_.memory().copy_on_device(buffer.base + done * buffer.stride, buffer.base, more * buffer.stride,
                                     context_.stream());
    done += more;
  }
}

void Rotation::refresh() {
  for (const Buffer& buffer : buffers_) {
    if (!buffer.refreshed) continue;
    context_.memory().copy_on_device(buffer.base, buffer.pristine, buffer.stride, context_.stream());
    repeat_first(buffer);
  }
  context_.synchronize();
}

}  // namespace zeroth::app
