// Fully connected layer: y = x w^T + bias, dx = dy w, dw = dy^T x, dbias = the column sums of dy. f32, bf16
// or f16 storage, f32 arithmetic. Three matrix products on tiled_product.cuh. In a classifier they are tiny
// (128 x 64 x 10) and bound by launch and memory latency; the depth is split between blocks so that more than
// a handful of SMs work. The bias is added as the result is written. dbias: one warp to a column, each lane
// every 32nd row, then a tree: rows are short, so reads are not coalesced, but all of dy is a few KB.

#include "kernels/core/tiled_product.cuh"
#include "kernels/linear/linear.h"
#include "kernels/linear/native.h"

namespace zeroth::ZEROTH_NATIVE {

namespace {

constexpr int kWarpsPerBlock = 4;

/// Grid-stride over columns, a warp each.
template <class T>
__global__ void __launch_bounds__(kWarpSize* kWarpsPerBlock)
    column_sums_kernel(const T* dy, float* dbias, std::int64_t rows, std::int64_t columns, bool accumulate) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const std::int64_t warp = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarpSize;
  const std::int64_t warps = std::int64_t{gridDim.x} * kWarpsPerBlock;
  for (std::int64_t column = warp; column < columns; column += warps) {
    float sum = 0.0f;
    for (std::int64_t row = lane; row < rows; row += kWarpSize) sum += to_compute(dy[row * columns + column]);
    sum = warp_sum(sum);
    if (lane == 0) dbias[column] = accumulate ? dbias[column] + sum : sum;
  }
}

/// Grid-stride over elements.
template <class T>
__global__ void __launch_bounds__(kWarpSize* kWarpsPerBlock)
    add_bias_kernel(const float* product, const float* bias, T* y, std::int64_t elements, std::int64_t columns) {
  const std::int64_t threads = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < elements; i += threads)
    y[i] = from_compute<T>(product[i] + bias[i % columns]);
}

using WideTile = ProductTile<128, 64, 8, 8>;
using NarrowTile = ProductTile<64, 16, 4, 4>;

template <int kVectorOf>
struct VectorLength {
  static constexpr int value = kVectorOf;
};

/// Calls run(tile, vector length) for a result of so many columns.
template <class Run>
void with_tile(const LinearParams& a, std::int64_t columns, Run&& run) {
  const auto with_vector = [&](auto tile) {
    if (a.c % 4 == 0 && a.k % 4 == 0)
      run(tile, VectorLength<4>{});
    else
      run(tile, VectorLength<1>{});
  };
  if (columns <= 64)
    with_vector(NarrowTile{});
  else
    with_vector(WideTile{});
}

bool supports(const LinearParams& a) {
  constexpr std::int64_t kMost = std::int64_t{1} << 30;  // indices are 32-bit
  return (a.dtype == DType::f32 || a.dtype == DType::bf16 || a.dtype == DType::f16) && a.n * a.c <= kMost &&
         a.n * a.k <= kMost && a.c * a.k <= kMost;
}

std::size_t workspace(Context&, const LinearParams& a) {
  std::size_t bytes = 0;
  const auto need = [&](std::int64_t rows, std::int64_t columns, std::int64_t depth) {
    with_tile(a, columns, [&]<class Tile, class Vector>(Tile, Vector) {
      bytes = std::max(bytes, make_product_shape<Tile>(rows, columns, depth).workspace());
    });
  };
  need(a.n, a.k, a.c);
  need(a.n, a.c, a.k);
  need(a.c, a.k, a.n);
  return bytes;
}

struct Sizes {
  int n, c, k;
  explicit Sizes(const LinearParams& a)
      : n(static_cast<int>(a.n)), c(static_cast<int>(a.c)), k(static_cast<int>(a.k)) {}
};

void forward(Context& context, const LinearParams& a, ConstTensorView x, ConstTensorView w,
             ConstTensorView bias, TensorView y, Workspace scratch) {
  const Sizes size(a);
  dispatch_storage(a.dtype, [&]<class T>(TypeTag<T>) {
    with_tile(a, a.k, [&]<class Tile, class Vector>(Tile, Vector) {
      launch_product<Tile, Vector::value>(
          context, MatrixOperand<T, true>{x.as<T>(), size.n, size.c, size.c},
          MatrixOperand<T, true>{w.as<T>(), size.k, size.c, size.c},
          ProductOutput<T, MatrixPlace>{y.as<T>(), {size.k, 1}, false, bias.as<float>()},
          make_product_shape<Tile>(a.n, a.k, a.c), scratch);
    });
  });
}

void backward_data(Context& context, const LinearParams& a, ConstTensorView dy, ConstTensorView w,
                   TensorView dx, GradMode mode, Workspace scratch) {
  const Sizes size(a);
  dispatch_storage(a.dtype, [&]<class T>(TypeTag<T>) {
    with_tile(a, a.c, [&]<class Tile, class Vector>(Tile, Vector) {
      launch_product<Tile, Vector::value>(
          context, MatrixOperand<T, true>{dy.as<T>(), size.n, size.k, size.k},
          MatrixOperand<T, false>{w.as<T>(), size.c, size.k, size.c},
          ProductOutput<T, MatrixPlace>{dx.as<T>(), {size.c, 1}, mode == GradMode::accumulate},
          make_product_shape<Tile>(a.n, a.c, a.k), scratch);
    });
  });
}

void backward_weight(Context& context, const LinearParams& a, ConstTensorView x, ConstTensorView dy,
                     TensorView dw, TensorView dbias, GradMode mode, Workspace scratch) {
  const Sizes size(a);
  const bool accumulate = mode == GradMode::accumulate;
  dispatch_storage(a.dtype, [&]<class T>(TypeTag<T>) {
    with_tile(a, a.k, [&]<class Tile, class Vector>(Tile, Vector) {
      launch_product<Tile, Vector::value>(context, MatrixOperand<T, false>{x.as<T>(), size.c, size.n, size.c},
                                          MatrixOperand<T, false>{dy.as<T>(), size.k, size.n, size.k},
                                          ProductOutput<T, MatrixPlace>{dw.as<T>(), {1, size.c}, accumulate},
                                          make_product_shape<Tile>(a.c, a.k, a.n), scratch);
    });
  });
  linear_bias_gradient(context, a, dy, dbias, mode);
}

}  // namespace

void linear_add_bias(Context& context, const LinearParams& a, const float* product, ConstTensorView bias,
                     TensorView y) {
  constexpr int kThreads = kWarpSize * kWarpsPerBlock;
  const std::int64_t elements = a.n * a.k;
  if (elements == 0) return;
  dispatch_storage(a.dtype, [&]<class T>(TypeTag<T>) {
    launch(add_bias_kernel<T>, dim3(blocks_for(elements, kThreads)), dim3(kThreads), 0, context.stream(), product,
           bias.as<float>(), y.as<T>(), elements, a.k);
  });
}

void linear_bias_gradient(Context& context, const LinearParams& a, ConstTensorView dy, TensorView dbias,
                          GradMode mode) {
  dispatch_storage(a.dtype, [&]<class T>(TypeTag<T>) {
    launch(column_sums_kernel<T>, dim3(blocks_for(a.k, kWarpsPerBlock)), dim3(kWarpSize * kWarpsPerBlock), 0,
           context.stream(), dy.as<T>(), dbias.as<float>(), a.n, a.k, mode == GradMode::accumulate);
  });
}

const LinearRow linear_row{
    {"native", kNativeDevice, true}, supports, workspace, forward, backward_data, backward_weight};

}  // namespace zeroth::ZEROTH_NATIVE
