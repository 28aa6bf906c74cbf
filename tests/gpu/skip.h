#pragma once

#include <cstdio>
#include <cstdlib>

#include "tests/kernels/rows.h"

namespace zeroth::testing {

/// Ends the process as skipped where no CUDA device is. Each test runs in a process of its own.
inline void require_cuda() {
  try {
    backend(DeviceKind::cuda);
  } catch (const Error& error) {
    std::printf("skipped: %s\n", error.what());
    std::exit(77);
  }
}

}  // namespace zeroth::testing
