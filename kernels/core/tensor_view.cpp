#include "kernels/core/tensor_view.h"

#include <fmt/format.h>

namespace zeroth {

void check_operand(const char* operation, const char* operand, ConstTensorView view, const Shape& shape,
                   DType dtype) {
  if (view.data == nullptr && shape.elements() > 0)
    fail(ErrorKind::usage, fmt::format("{}: {} is missing", operation, operand));
  if (view.shape != shape)
    fail(ErrorKind::usage, fmt::format("{}: {} has shape {}, expected {}", operation, operand,
                                       view.shape.to_string(), shape.to_string()));
  if (view.dtype != dtype)
    fail(ErrorKind::usage, fmt::format("{}: {} has dtype {}, expected {}", operation, operand,
                                       name_of(view.dtype), name_of(dtype)));
  if (reinterpret_cast<std::uintptr_t>(view.data) % kOperandAlignment != 0)
    fail(ErrorKind::usage,
         fmt::format("{}: {} does not start on a {}-byte boundary", operation, operand, kOperandAlignment));
}

void check_workspace(const char* operation, Workspace workspace, std::size_t needed) {
  if (workspace.bytes < needed || (needed > 0 && workspace.data == nullptr))
    fail(ErrorKind::usage, fmt::format("{}: the workspace has {} bytes, {} are needed", operation,
                                       workspace.data == nullptr ? 0 : workspace.bytes, needed));
}

}  // namespace zeroth
