#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernels/core/context.h"
#include "kernels/core/error.h"
#include "tests/catch.h"
#include "tests/cuda_mock/cuda_mock.h"

namespace zeroth {

inline constexpr Device kCuda{DeviceKind::cuda, 0};

/// What `call` throws: kind and message. Fails the test when it throws nothing.
template <class Call>
std::pair<ErrorKind, std::string> failure_of(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return {error.kind(), error.what()};
  }
  FAIL("nothing was thrown");
  return {};
}

inline std::span<const std::byte> bytes_of(const std::vector<std::int32_t>& values) {
  return std::as_bytes(std::span(values));
}

/// Context::upload to an address.
inline void upload(Context& context, void* to, const std::vector<std::int32_t>& values) {
  context.upload({to, {static_cast<std::int64_t>(values.size())}, DType::i32}, bytes_of(values));
}

/// The first values at a device address, after everything queued on the context is done.
inline std::vector<std::int32_t> values_at(const Context& context, const void* data, std::size_t count) {
  std::vector<std::int32_t> values(count);
  context.memory().copy_to_host(values.data(), data, count * sizeof(std::int32_t), context.stream());
  context.synchronize();
  return values;
}

}  // namespace zeroth
