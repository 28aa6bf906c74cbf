#pragma once

#include <omp.h>

#include <cstddef>
#include <dnnl.hpp>
#include <string>

#include "kernels/core/error.h"
#include "kernels/core/tensor_view.h"
#include "kernels/core/workspace_cutter.h"

namespace zeroth::cpu {

/// oneDNN's engine and stream: one a Context, made on first use through Context::state<OneDnn>().
struct OneDnn {
  /// oneDNN plans barriers for omp_get_max_threads() threads and spins for ever where OpenMP starts fewer of
  /// them, as it does above OMP_THREAD_LIMIT and with OMP_DYNAMIC.
  OneDnn() {
    omp_set_dynamic(0);
    if (omp_get_max_threads() > omp_get_thread_limit()) omp_set_num_threads(omp_get_thread_limit());
  }

  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};

  /// A oneDNN view of memory that somebody else owns.
  dnnl::memory memory(const dnnl::memory::desc& desc, const void* data) const {
    return {desc, engine, const_cast<void*>(data)};
  }
};

/// While one lives, this thread makes and runs primitives on one thread, itself. A primitive is planned for a
/// number of threads, and its sums are cut accordingly: on one thread they have the same bits everywhere.
class SingleThread {
 public:
  SingleThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~SingleThread() { omp_set_num_threads(before_); }
  SingleThread(const SingleThread&) = delete;
  SingleThread& operator=(const SingleThread&) = delete;

 private:
  int before_;
};

/// Whether oneDNN computes in bf16 on this processor.
inline bool onednn_has_bf16() {
  const auto isa = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  constexpr auto kNeeded = static_cast<unsigned>(dnnl::cpu_isa::avx512_core);
  return (isa & kNeeded) == kNeeded;
}

inline dnnl::memory::data_type onednn_type(DType dtype) {
  return dtype == DType::bf16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
}

/// Runs `body`, turning oneDNN's exceptions into Error(runtime) that names the operation.
template <class Body>
decltype(auto) with_onednn_errors(const char* operation, Body&& body) {
  try {
    return body();
  } catch (const dnnl::error& error) {
    fail(ErrorKind::runtime, std::string(operation) + ": oneDNN: " + error.what());
  }
}

}  // namespace zeroth::cpu
