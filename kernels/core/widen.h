#pragma once

#include "kernels/core/parallel.h"
#include "kernels/core/tensor_view.h"
#include "kernels/core/workspace_cutter.h"

namespace zeroth::cpu {

/// Bytes of a workspace that a tensor of this shape takes in f32.
inline std::size_t widened_bytes(const Shape& shape) {
  return WorkspaceCutter::padded(static_cast<std::size_t>(shape.elements()) * sizeof(float));
}

/// Room in the workspace for the tensor in f32.
inline TensorView widened_room(WorkspaceCutter& cutter, const Shape& shape) {
  return {cutter.take(widened_bytes(shape)), shape, DType::f32};
}

/// A 16-bit tensor's elements in f32, in the workspace.
inline TensorView widened(WorkspaceCutter& cutter, ConstTensorView from_view) {
  const TensorView result = widened_room(cutter, from_view.shape);
  dispatch_storage(from_view.dtype, [&]<class T>(TypeTag<T>) {
    const T* from = from_view.as<T>();
    float* to = result.as<float>();
    parallel_for(from_view.elements(), 1, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) to[i] = to_compute(from[i]);
    });
  });
  return result;
}

/// Rounds f32 elements to those of a 16-bit tensor.
inline void narrow(ConstTensorView from_view, TensorView to_view) {
  dispatch_storage(to_view.dtype, [&]<class T>(TypeTag<T>) {
    const float* from = from_view.as<float>();
    T* to = to_view.as<T>();
    parallel_for(to_view.elements(), 1, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) to[i] = from_compute<T>(from[i]);
    });
  });
}

/// The f32 room for a gradient that is written through `mode`: with what there is, where it is added to.
inline TensorView widened_result(WorkspaceCutter& cutter, TensorView result, GradMode mode) {
  return mode == GradMode::accumulate ? widened(cutter, result) : widened_room(cutter, result.shape);
}

/// What is left of a workspace for the row that does the work.
inline Workspace rest_of(Workspace workspace, std::size_t used) {
  return {static_cast<std::byte*>(workspace.data) + used, workspace.bytes - used};
}

}  // namespace zeroth::cpu
