// Convolution on the CPU whose bits do not depend on the number of threads. The batch is cut into parts whose
// number follows from its size alone; oneDNN convolves each on one thread (onednn.cpp), and the threads share
// the parts out. The filters' gradient adds what the parts give in their order.
//
// Bytes: those of onednn.cpp, with the filters reordered once for each part, and their gradient written and
// read once for each part in f32.

#include <omp.h>

#include <algorithm>
#include <array>
#include <exception>

#include "kernels/conv2d/onednn.h"
#include "kernels/core/onednn.h"
#include "kernels/core/parallel.h"

namespace zeroth::cpu {

namespace {

constexpr std::int64_t kParts = 16;
constexpr std::int64_t kGradientParts = 8;  // each takes the memory of the filters

/// How a pass cuts the batch: part i has pictures [first(i), first(i + 1)).
struct Split {
  std::int64_t pictures, parts;

  Split(const Conv2dParams& params, Conv2dPass pass)
      : pictures(params.n),
        parts(std::min(params.n, pass == Conv2dPass::backward_weight ? kGradientParts : kParts)) {}
  std::int64_t first(std::int64_t part) const { return pictures * part / parts; }
  /// The sizes that parts have, one or two.
  std::array<std::int64_t, 2> sizes() const { return {pictures / parts, (pictures + parts - 1) / parts}; }
};

Conv2dParams with_pictures(Conv2dParams params, std::int64_t n) {
  params.n = n;
  return params;
}

bool supports(const Conv2dParams& params, Conv2dPass pass) {
  return conv2d_row.supports(params, pass);
}

/// In which a part's gradient of the filters is computed: in f32, to be added to others.
GradMode mode_of_part(Conv2dPass pass, GradMode mode) {
  return pass == Conv2dPass::backward_weight ? GradMode::accumulate : mode;
}

/// Bytes for one part, of the larger size; makes the plans, which the threads then only read.
std::size_t part_bytes(Context& context, const Conv2dParams& params, Conv2dPass pass, GradMode mode) {
  const SingleThread single;
  std::size_t most = 0;
  for (const std::int64_t n : Split(params, pass).sizes())
    most = std::max(most, WorkspaceCutter::padded(conv2d_row.workspace(context, with_pictures(params, n),
                                                                       pass, mode_of_part(pass, mode))));
  return most;
}

std::size_t sums_bytes(const Conv2dParams& params) {
  return WorkspaceCutter::padded(static_cast<std::size_t>(params.w_shape().elements()) * sizeof(float));
}

std::size_t workspace(Context& context, const Conv2dParams& params, Conv2dPass pass, GradMode mode) {
  const auto threads = static_cast<std::size_t>(omp_get_max_threads());
  const auto gradients = pass == Conv2dPass::backward_weight
                             ? static_cast<std::size_t>(Split(params, pass).parts) * sums_bytes(params)
                             : std::size_t{0};
  return threads * part_bytes(context, params, pass, mode) + gradients;
}

/// Calls convolve(part, its parameters, its first picture, its workspace) for all parts.
template <class Convolve>
void for_each_part(Context& context, const Conv2dParams& params, Conv2dPass pass, GradMode mode,
                   Workspace workspace, Convolve&& convolve) {
  const Split split(params, pass);
  const std::size_t bytes = part_bytes(context, params, pass, mode);
  std::exception_ptr failure;  // none may leave a thread
  parallel_for(split.parts, params.multiply_adds() / split.parts, [&](std::int64_t begin, std::int64_t end) {
    const SingleThread single;
    const Workspace own{
        static_cast<std::byte*>(workspace.data) + static_cast<std::size_t>(omp_get_thread_num()) * bytes,
        bytes};
    try {
      for (std::int64_t part = begin; part < end; ++part) {
        const std::int64_t first = split.first(part);
        convolve(part, with_pictures(params, split.first(part + 1) - first), first, own);
      }
    } catch (...) {
#pragma omp critical(zeroth_conv2d_split)
      failure = std::current_exception();
    }
  });
  if (failure) std::rethrow_exception(failure);
}

/// Pictures of a tensor from `first` on.
template <class View>
View pictures(const View& view, std::int64_t first, const Shape& shape) {
  const std::size_t picture = view.bytes() / static_cast<std::size_t>(view.shape[0]);
  using Byte = std::conditional_t<std::is_same_v<View, TensorView>, std::byte, const std::byte>;
  return {static_cast<Byte*>(view.data) + static_cast<std::size_t>(first) * picture, shape, view.dtype};
}

void forward(Context& context, const Conv2dParams& params, ConstTensorView x, ConstTensorView w, TensorView y,
             Workspace workspace) {
  for_each_part(context, params, Conv2dPass::forward, GradMode::overwrite, workspace,
                [&](std::int64_t, const Conv2dParams& part, std::int64_t first, Workspace own) {
                  conv2d_row.forward(context, part, pictures(x, first, part.x_shape()), w,
                                     pictures(y, first, part.y_shape()), own);
                });
}

void backward_data(Context& context, const Conv2dParams& params, ConstTensorView dy, ConstTensorView w,
                   TensorView dx, GradMode mode, Workspace workspace) {
  for_each_part(context, params, Conv2dPass::backward_data, mode, workspace,
                [&](std::int64_t, const Conv2dParams& part, std::int64_t first, Workspace own) {
                  conv2d_row.backward_data(context, part, pictures(dy, first, part.y_shape()), w,
                                           pictures(dx, first, part.x_shape()), mode, own);
                });
}

void backward_weight(Context& context, const Conv2dParams& params, ConstTensorView x, ConstTensorView dy,
                     TensorView dw, GradMode mode, Workspace workspace) {
  const std::int64_t parts = Split(params, Conv2dPass::backward_weight).parts;
  const std::size_t each = sums_bytes(params);
  auto* sums = static_cast<std::byte*>(workspace.data);
  const auto sums_of = [=](std::int64_t part) {
    return reinterpret_cast<float*>(sums + static_cast<std::size_t>(part) * each);
  };
  const Workspace rest{sums_of(parts), workspace.bytes - static_cast<std::size_t>(parts) * each};
  for_each_part(context, params, Conv2dPass::backward_weight, mode, rest,
                [&](std::int64_t part, const Conv2dParams& of_part, std::int64_t first, Workspace own) {
                  conv2d_onednn_filter_sums(context, of_part, pictures(x, first, of_part.x_shape()),
                                            pictures(dy, first, of_part.y_shape()), sums_of(part), own);
                });
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    T* to = dw.as<T>();
    parallel_for(dw.elements(), parts, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        float sum = sums_of(0)[i];
        for (std::int64_t part = 1; part < parts; ++part) sum += sums_of(part)[i];
        to[i] = from_compute<T>(mode == GradMode::accumulate ? to_compute(to[i]) + sum : sum);
      }
    });
  });
}

}  // namespace

const Conv2dRow conv2d_split_row{
    {"split", DeviceKind::cpu, true}, supports, workspace, forward, backward_data, backward_weight};

}  // namespace zeroth::cpu
