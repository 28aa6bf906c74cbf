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

Rotation::Rotation(Context& context, const check::KernelCase& call, DType storage,
                   const check::Values& values, std::size_t bytes)
    : context_(context) {
  const DeviceBackend& memory = context.memory();
  const int device = context.device().index;
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
  for (std::size_t i = 0; i < call.operands.size(); ++i) {
    const check::OperandSpec& spec = call.operands[i];
    const DType dtype = spec.dtype(storage);
    std::byte* base = nullptr;
    std::size_t stride = stride_of(spec);
    if (spec.aliases < 0) {
      // An operand that the call leaves alone needs a place, but no rotation.
      const std::size_t copies = spec.role == check::Role::untouched ? 1 : sets;
      const bool overwritten =
          std::any_of(call.operands.begin(), call.operands.end(),
                      [&](const auto& other) { return other.aliases == static_cast<int>(i); });
      buffers_.push_back({DeviceMemory(memory, device, std::max(copies * stride, kAlignment)), stride, copies,
                          read_before(spec.role) && (overwritten || spec.written())});
      const Buffer& buffer = buffers_.back();
      base = static_cast<std::byte*>(buffer.memory.data());
      const std::vector<std::byte> first = element_bytes(dtype, spec.shape.elements(), values[i]);
      memory.copy_to_device(base, first.data(), first.size(), context.stream());
      context.synchronize();
      repeat_first(buffer);
      if (buffer.refreshed) {
        pristine_.emplace_back(memory, device, std::max(stride, kAlignment));
        memory.copy_on_device(pristine_.back().data(), base, stride, context.stream());
      }
      if (copies == 1) stride = 0;
    }
    for (std::size_t set = 0; set < sets; ++set)
      views_[set][i] = spec.aliases < 0 ? TensorView(base + set * stride, spec.shape, dtype)
                                        : views_[set][static_cast<std::size_t>(spec.aliases)];
  }
  context.synchronize();
}

void Rotation::repeat_first(const Buffer& buffer) const {
  auto* base = static_cast<std::byte*>(buffer.memory.data());
  for (std::size_t done = 1; done < buffer.sets;) {
    const std::size_t more = std::min(done, buffer.sets - done);
    context_.memory().copy_on_device(base + done * buffer.stride, base, more * buffer.stride,
                                     context_.stream());
    done += more;
  }
}

void Rotation::refresh() {
  auto pristine = pristine_.begin();
  for (const Buffer& buffer : buffers_) {
    if (!buffer.refreshed) continue;
    context_.memory().copy_on_device(buffer.memory.data(), pristine->data(), buffer.stride,
                                     context_.stream());
    repeat_first(buffer);
    ++pristine;
  }
  context_.synchronize();
}

}  // namespace zeroth::app
