#pragma once

#include <cstddef>

#include "kernels/core/error.h"
#include "kernels/core/tensor_view.h"

namespace zeroth {

/// Hands out consecutive 256-byte aligned pieces of a workspace.
class WorkspaceCutter {
 public:
  explicit WorkspaceCutter(Workspace workspace) : workspace_(workspace) {}

  static std::size_t padded(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

  void* take(std::size_t bytes) {
    void* piece = static_cast<std::byte*>(workspace_.data) + used_;
    used_ += padded(bytes);
    if (used_ > workspace_.bytes)
      fail(ErrorKind::runtime, "a workspace is smaller than its operation asked for");
    return piece;
  }

 private:
  Workspace workspace_;
  std::size_t used_ = 0;
};

}  // namespace zeroth
