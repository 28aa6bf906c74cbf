#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/core/error.h"
#include "kernels/core/half.h"

namespace zeroth {

/// Element types. f64 exists for references and gradient checks only; i32 and u8 hold labels, indices and
/// pictures.
enum class DType : std::uint8_t { f64, f32, f16, bf16, i32, u8 };

constexpr std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return 8;
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::f16:
    case DType::bf16:
      return 2;
    case DType::u8:
      return 1;
  }
  return 0;
}

constexpr const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return "f64";
    case DType::f32:
      return "f32";
    case DType::f16:
      return "f16";
    case DType::bf16:
      return "bf16";
    case DType::i32:
      return "i32";
    case DType::u8:
      return "u8";
  }
  return "?";
}

template <class T>
extern const DType dtype_of;  // defined for the element types alone
template <>
inline constexpr DType dtype_of<double> = DType::f64;
template <>
inline constexpr DType dtype_of<float> = DType::f32;
template <>
inline constexpr DType dtype_of<f16> = DType::f16;
template <>
inline constexpr DType dtype_of<bf16> = DType::bf16;
template <>
inline constexpr DType dtype_of<std::int32_t> = DType::i32;
template <>
inline constexpr DType dtype_of<std::uint8_t> = DType::u8;

/// The type in which statistics, scales and losses of a tensor of `dtype` are kept: f64 for f64, else f32.
constexpr DType statistics_dtype(DType dtype) {
  return dtype == DType::f64 ? DType::f64 : DType::f32;
}

template <class T>
struct TypeTag {
  using type = T;
};

/// Calls fn(TypeTag<T>{}) for a floating dtype of storage: f32, bf16 or f16.
template <class Fn>
decltype(auto) dispatch_storage(DType dtype, Fn&& fn) {
  switch (dtype) {
    case DType::f32:
      return fn(TypeTag<float>{});
    case DType::bf16:
      return fn(TypeTag<bf16>{});
    case DType::f16:
      return fn(TypeTag<f16>{});
    default:
      fail(ErrorKind::usage, std::string("no f32, bf16 or f16 tensor: ") + name_of(dtype));
  }
}

/// Calls fn(TypeTag<T>{}) for the dtypes references know: f64 or f32.
template <class Fn>
decltype(auto) dispatch_reference(DType dtype, Fn&& fn) {
  switch (dtype) {
    case DType::f64:
      return fn(TypeTag<double>{});
    case DType::f32:
      return fn(TypeTag<float>{});
    default:
      fail(ErrorKind::usage, std::string("no f64 or f32 tensor: ") + name_of(dtype));
  }
}

}  // namespace zeroth
