#pragma once

// Operands that notice writes beside them, numbers to fill them with, and how far rounding moves a number.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/core/context.h"
#include "kernels/core/error.h"
#include "kernels/core/philox.h"

#if __has_include(<sanitizer/asan_interface.h>)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes)
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes)
#endif

namespace zeroth::check {

/// Calls fn(TypeTag<T>{}) for any dtype.
template <class Fn>
decltype(auto) dispatch_any(DType dtype, Fn&& fn) {
  switch (dtype) {
    case DType::f64:
      return fn(TypeTag<double>{});
    case DType::f32:
      return fn(TypeTag<float>{});
    case DType::f16:
      return fn(TypeTag<f16>{});
    case DType::bf16:
      return fn(TypeTag<bf16>{});
    case DType::i32:
      return fn(TypeTag<std::int32_t>{});
    case DType::u8:
      break;
  }
  return fn(TypeTag<std::uint8_t>{});
}

template <class T>
T element_from(double value) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<T>(value);
  else
    return from_compute<T>(static_cast<compute_t<T>>(value));
}

template <class T>
double element_to(T value) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<double>(value);
  else
    return static_cast<double>(to_compute(value));
}

/// A tensor in a device's memory between two fences. It starts on 16 bytes and on no larger boundary, so a
/// kernel that relies on more than kOperandAlignment is found. Address sanitizer sees the fences as
/// forbidden.
class Operand {
 public:
  /// Elements are `values`, rounded to `dtype`.
  Operand(Context& context, DType dtype, const Shape& shape, const std::vector<double>& values)
      : Operand(context, dtype, shape) {
    require(static_cast<std::int64_t>(values.size()) == shape.elements(),
            "an operand has a number for every element");
    std::vector<std::byte> bytes(bytes_);
    dispatch_any(dtype, [&]<class T>(TypeTag<T>) {
      for (std::size_t i = 0; i < values.size(); ++i) {
        const T element = element_from<T>(values[i]);
        std::memcpy(bytes.data() + i * sizeof(T), &element, sizeof(T));
      }
    });
    write(kFence, bytes);
  }
  /// Elements are NaN, or -1, or 255: all bits set.
  static Operand unset(Context& context, DType dtype, const Shape& shape) {
    return Operand(context, dtype, shape);
  }
  ~Operand() {
    fences_open();
    context_.memory().synchronize(context_.stream());
    context_.allocator().release(memory_);
  }
  Operand(const Operand&) = delete;
  Operand& operator=(const Operand&) = delete;

  TensorView view() const { return {data(), shape_, dtype_}; }
  operator TensorView() const { return view(); }
  operator ConstTensorView() const { return view(); }
  Workspace workspace() const { return {data(), bytes_}; }

  std::vector<std::byte> bytes() const { return read(kFence, bytes_); }
  std::vector<double> values() const {
    const std::vector<std::byte> raw = bytes();
    std::vector<double> result(static_cast<std::size_t>(shape_.elements()));
    dispatch_any(dtype_, [&]<class T>(TypeTag<T>) {
      for (std::size_t i = 0; i < result.size(); ++i) {
        T element;
        std::memcpy(&element, raw.data() + i * sizeof(T), sizeof(T));
        result[i] = element_to(element);
      }
    });
    return result;
  }
  /// Whether nobody wrote beside the tensor.
  bool intact() const {
    fences_open();
    const bool result = read(0, kFence) == std::vector<std::byte>(kFence, kMark) &&
                        read(kFence + bytes_, kFence) == std::vector<std::byte>(kFence, kMark);
    fences_closed();
    return result;
  }

 private:
  // The allocator aligns to 256 bytes; an odd multiple of 16 keeps the tensor off larger boundaries.
  static constexpr std::size_t kFence = 272;
  static constexpr std::byte kMark{0xA5};

  Operand(Context& context, DType dtype, const Shape& shape)
      : context_(context),
        dtype_(dtype),
        shape_(shape),
        bytes_(static_cast<std::size_t>(shape.elements()) * size_of(dtype)),
        memory_(static_cast<std::byte*>(context.allocator().allocate(total()))) {
    write(0, std::vector<std::byte>(total(), kMark));
    write(kFence, std::vector<std::byte>(bytes_, std::byte{0xFF}));
    fences_closed();
  }
  std::size_t total() const { return bytes_ + 2 * kFence; }
  void* data() const { return memory_ + kFence; }
  void write(std::size_t offset, const std::vector<std::byte>& bytes) {
    if (bytes.empty()) return;
    context_.memory().copy_to_device(memory_ + offset, bytes.data(), bytes.size(), context_.stream());
    context_.synchronize();
  }
  std::vector<std::byte> read(std::size_t offset, std::size_t count) const {
    std::vector<std::byte> result(count);
    if (count == 0) return result;
    context_.memory().copy_to_host(result.data(), memory_ + offset, count, context_.stream());
    context_.synchronize();
    return result;
  }
  void fences_closed() const {
    if (context_.device().kind == DeviceKind::cuda) return;
    ASAN_POISON_MEMORY_REGION(memory_, kFence);
    ASAN_POISON_MEMORY_REGION(memory_ + kFence + bytes_, kFence);
  }
  void fences_open() const {
    if (context_.device().kind == DeviceKind::cuda) return;
    ASAN_UNPOISON_MEMORY_REGION(memory_, total());
  }

  Context& context_;
  DType dtype_;
  Shape shape_;
  std::size_t bytes_;
  std::byte* memory_;
};

/// Half the distance from 1 to the next number: the largest relative error of rounding to a dtype.
inline double unit_roundoff(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return 0x1p-53;
    case DType::bf16:
      return 0x1p-8;
    case DType::f16:
      return 0x1p-11;
    default:
      return 0x1p-24;
  }
}

/// The largest error of rounding `value` to a dtype, below its normal range too.
inline double rounding(DType dtype, double value) {
  const double smallest = dtype == DType::f16    ? 0x1p-25
                          : dtype == DType::bf16 ? 0x1p-134
                          : dtype == DType::f64  ? 0x1p-1074
                                                 : 0x1p-150;
  return std::max(unit_roundoff(dtype) * std::fabs(value), smallest);
}

/// `value` as a dtype holds it.
inline double rounded(DType dtype, double value) {
  return dispatch_any(dtype, [&]<class T>(TypeTag<T>) { return element_to(element_from<T>(value)); });
}

/// Numbers in (low, high], rounded to `dtype`; the same for the same seed.
inline std::vector<double> random_values(std::int64_t count, DType dtype, double low, double high,
                                         std::uint64_t seed) {
  std::vector<double> result(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < result.size(); ++i) {
    const float unit = uniform_unit(philox(seed, 0, i, RandomUse::test).word[0]);
    result[i] = rounded(dtype, low + (high - low) * static_cast<double>(unit));
  }
  return result;
}

/// Holds |actual[i] - expected[i]| <= bound(i), NaN where and only where NaN is expected. Empty where that is
/// so, else a sentence about the worst element. Both lists have one length.
template <class Bound>
std::string mismatch_of(const std::vector<double>& actual, const std::vector<double>& expected,
                        Bound&& bound) {
  std::size_t wrong = 0, worst = 0;
  double worst_ratio = 0.0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (actual[i] == expected[i] || (std::isnan(actual[i]) && std::isnan(expected[i]))) continue;
    const double error = std::fabs(actual[i] - expected[i]), limit = bound(i);
    if (error <= limit) continue;
    const double ratio = error / limit;
    if (wrong++ == 0 || ratio > worst_ratio) {
      worst = i;
      worst_ratio = ratio;
    }
  }
  if (wrong == 0) return "";
  std::ostringstream text;
  text.precision(9);
  text << "element " << worst << " is " << actual[worst] << ", expected " << expected[worst] << " +- "
       << bound(worst) << "; " << wrong << " of " << actual.size() << " are wrong";
  return text.str();
}

}  // namespace zeroth::check
