#pragma once

// launch(), ZEROTH_SHARED and dynamic_shared(): the parts of the language that CUDA spells differently.

#include <cstddef>
#include <tuple>
#include <type_traits>

#include "kernels/core/device.h"
#include "kernels/simt/runtime.h"
#include "kernels/simt/stream.h"

// The array sits in a local struct so that attributes such as __align__(16) may stand before the type.
#define ZEROTH_SHARED(type, name, extents)                                                       \
  struct name##_zeroth_shared {                                                                  \
    type array extents;                                                                          \
  };                                                                                             \
  static constexpr ::zeroth::simt::SharedDeclaration name##_zeroth_declaration{                  \
      #name, {__FILE__, __LINE__}, sizeof(name##_zeroth_shared), alignof(name##_zeroth_shared)}; \
  auto& name =                                                                                   \
      static_cast<name##_zeroth_shared*>(::zeroth::simt::shared_array(name##_zeroth_declaration))->array

namespace zeroth::simt_native {

inline constexpr DeviceKind kNativeDevice = DeviceKind::simt;

/// This block's dynamic shared memory. Aligned for 16-byte vector loads.
template <class T>
inline T* dynamic_shared() {
  return static_cast<T*>(simt::dynamic_shared_memory());
}

/// A stream, and the line of the launch that names it.
struct LaunchStream {
  void* handle;
  simt::Site site;
  LaunchStream(Stream stream, const char* file = __builtin_FILE(), int line = __builtin_LINE())
      : handle(stream.handle), site{file, line} {}
};

/// Runs a kernel to completion, or queues it where the stream's work is captured or put off (stream.h).
/// Arguments are converted to the kernel's parameter types. Throws Error(runtime) for what CUDA would refuse
/// and, once it runs, for every fault found inside the kernel.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes,
            LaunchStream stream, Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "a kernel takes exactly its parameters");
  static_assert((std::is_trivially_copyable_v<Parameters> && ...), "kernel arguments are copied bytewise");
  struct Bound {
    void (*kernel)(Parameters...);
    std::tuple<std::remove_cv_t<Parameters>...> values;
  } bound{kernel, {static_cast<std::remove_cv_t<Parameters>>(arguments)...}};
  simt::LaunchRequest request;
  request.kernel = reinterpret_cast<const void*>(kernel);
  request.invoke = [](void* data) {
    const Bound& call = *static_cast<const Bound*>(data);
    std::apply(call.kernel, call.values);
  };
  request.grid = grid;
  request.block = block;
  request.shared_bytes = shared_bytes;
  request.site = stream.site;
  simt::check_launch(request);
  auto run = [request, bound]() mutable {
    request.arguments = &bound;
    simt::run(request);
  };
  if (stream.handle == nullptr || simt::WorkQueue::of(stream.handle).immediate())
    run();
  else
    simt::WorkQueue::of(stream.handle).add(run);
}

}  // namespace zeroth::simt_native
