#include <nvtx3/nvToolsExt.h>

#include "kernels/core/profiler.h"

namespace zeroth {

void push_profiler_range(const char* name) {
  nvtxRangePushA(name);
}

void pop_profiler_range() {
  nvtxRangePop();
}

}  // namespace zeroth
