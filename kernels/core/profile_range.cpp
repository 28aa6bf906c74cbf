#include "kernels/core/profile_range.h"

#include <nvtx3/nvToolsExt.h>

namespace zeroth {

ProfileRange::ProfileRange(const char* name, const char* row) : depth_(row == nullptr ? 1 : 2) {
  nvtxRangePushA(name);
  if (row != nullptr) nvtxRangePushA(row);
}

ProfileRange::~ProfileRange() {
  for (; depth_ > 0; --depth_) nvtxRangePop();
}

}  // namespace zeroth
