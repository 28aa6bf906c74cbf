// Two-dimensional convolution, NHWC pictures and KRSC filters: forward, backward to the picture, backward to
// the filters. f32, bf16 or f16 storage, f32 arithmetic.
// Each pass is one matrix product whose operands are gathered on the way into shared memory ("implicit GEMM":
// Chetlur et al., "cuDNN: Efficient primitives for deep learning", 2014); nothing is unfolded in memory, so
// from DRAM a pass reads its operands about once and writes its result once.
//   forward          y  (pixels of y, k)  = x at (pixel, tap)       * w (tap, k)        tap = (r, s, c)
//   backward_data    dx (pixels of x, c)  = dy at (pixel, tap)      * w (tap, c)        tap = (r, s, k)
//   backward_weight  dw (taps, k)         = x at (tap, pixel of y)  * dy (pixel, k)     tap = (r, s, c)
// backward_data with a stride s: pixels of x whose coordinates agree modulo s meet the same subset of taps,
// and for them the product is dense; so dx is computed in s * s phases, each with its taps only, and no
// multiplication with a zero is spent.
// backward_weight has few tiles and a long sum: it is split between blocks (tiled_product.cuh), in a fixed
// order.
// Multiply-adds run on the ordinary f32 units: this row is the readable one, and exact f32 where storage is.

#include <algorithm>

#include "kernels/conv2d/conv2d.h"
#include "kernels/core/tiled_product.cuh"

namespace zeroth::ZEROTH_NATIVE {

namespace {

/// A coordinate so far outside that it stays outside whatever is added to it.
constexpr int kOutside = -(1 << 30);

/// Pictures seen through a sliding window. Pixel (n, u, v) of a grid (pictures, down, across) meets, for tap
/// (r, s, c), element (n, i, j, c) with i = u * scale + first_i + r * step, j likewise; outside the picture
/// that is 0.
template <class T>
struct Window {
  const T* data;
  int height, width, channels;
  int pixels, taps;
  FastDivisor by_down, by_across, by_channels, by_window_width;
  int scale, first_i, first_j, step;

  struct Coordinate {
    int i, j, offset;
  };

  __device__ Coordinate pixel(int index) const {
    if (index >= pixels) return {kOutside, 0, 0};
    int v = index;
    int u = by_across.divide(v);
    const int n = by_down.divide(u);
    const int i = u * scale + first_i, j = v * scale + first_j;
    return {i, j, ((n * height + i) * width + j) * channels};
  }
  __device__ Coordinate tap(int index) const {
    if (index >= taps) return {kOutside, 0, 0};
    int c = index;
    int s = by_channels.divide(c);
    const int r = by_window_width.divide(s);
    return {r * step, s * step, (r * width + s) * step * channels + c};
  }
  template <int N>
  __device__ Pack<T, N> load(const Coordinate& pixel, const Coordinate& tap) const {
    const auto i = static_cast<unsigned>(pixel.i + tap.i), j = static_cast<unsigned>(pixel.j + tap.j);
    if (i >= static_cast<unsigned>(height) || j >= static_cast<unsigned>(width)) return {};
    return load_pack<N>(data + (pixel.offset + tap.offset));
  }
};

/// A window as an operand (see tiled_product.cuh): rows are pixels and the depth runs over taps, or the other
/// way round.
template <class T>
struct PixelRows {
  using Element = T;
  static constexpr bool kAlongDepth = true;
  Window<T> window;

  __device__ auto row(int i) const { return window.pixel(i); }
  __device__ auto depth(int d) const { return window.tap(d); }
  template <int N, class Coordinate>
  __device__ Pack<T, N> load(const Coordinate& row, const Coordinate& depth) const {
    return window.template load<N>(row, depth);
  }
};

template <class T>
struct TapRows {
  using Element = T;
  static constexpr bool kAlongDepth = false;
  Window<T> window;

  __device__ auto row(int i) const { return window.tap(i); }
  __device__ auto depth(int d) const { return window.pixel(d); }
  template <int N, class Coordinate>
  __device__ Pack<T, N> load(const Coordinate& row, const Coordinate& depth) const {
    return window.template load<N>(depth, row);
  }
};

/// The filters as backward_data sees them: rows are channels c, the depth runs over (r, s, k) of one phase,
/// whose taps are first_r, first_r + stride, ... and likewise in s.
template <class T>
struct PhaseFilters {
  using Element = T;
  static constexpr bool kAlongDepth = false;
  const T* data;
  int channels, taps;
  int height, width;  // of the whole window
  int first_r, first_s, stride;
  FastDivisor by_filters, by_phase_width;

  __device__ int row(int c) const { return c < channels ? c : -1; }
  __device__ int depth(int index) const {
    if (index >= taps) return -1;
    int k = index;
    int s = by_filters.divide(k);
    const int r = by_phase_width.divide(s);
    return ((k * height + first_r + r * stride) * width + first_s + s * stride) * channels;
  }
  template <int N>
  __device__ Pack<T, N> load(int row, int depth) const {
    if ((row | depth) < 0) return {};
    return load_pack<N>(data + row + depth);
  }
};

/// Pixels of one phase in dx: every stride-th one in both directions, from (first_i, first_j) on.
struct PhasePlace {
  FastDivisor by_down, by_across;
  int height, width, channels;
  int first_i, first_j, stride;
  int column_stride = 1;

  __device__ int offset(int row) const {
    int v = row;
    int u = by_across.divide(v);
    const int n = by_down.divide(u);
    return ((n * height + first_i + u * stride) * width + first_j + v * stride) * channels;
  }
};

int as_int(std::int64_t value) {
  return static_cast<int>(value);
}

/// x under the window that makes a pixel of y.
template <class T>
Window<T> window_of(const Conv2dParams& a, const T* x) {
  return {x,
          as_int(a.h),
          as_int(a.w),
          as_int(a.c),
          as_int(a.n * a.p() * a.q()),
          as_int(a.r * a.s * a.c),
          FastDivisor(as_int(a.p())),
          FastDivisor(as_int(a.q())),
          FastDivisor(as_int(a.c)),
          FastDivisor(as_int(a.s)),
          as_int(a.stride),
          -as_int(a.padding),
          -as_int(a.padding),
          1};
}

/// One direction of one phase of backward_data: coordinates first, first + stride, ... of x, which meet
/// taps first_tap, first_tap + stride, ... at coordinates first_output - 0, - 1, ... of y.
struct PhaseAxis {
  int first, count, first_tap, taps, first_output;
};

PhaseAxis phase_axis(std::int64_t phase, std::int64_t size, std::int64_t window, const Conv2dParams& a) {
  const std::int64_t first_tap = (phase + a.padding) % a.stride;
  return {as_int(phase), as_int(phase < size ? (size - phase - 1) / a.stride + 1 : 0), as_int(first_tap),
          as_int(first_tap < window ? (window - first_tap - 1) / a.stride + 1 : 0),
          as_int((phase + a.padding - first_tap) / a.stride)};
}

/// Calls run(vertical axis, horizontal axis) for every phase that has pixels.
template <class Run>
void for_each_phase(const Conv2dParams& a, Run&& run) {
  for (std::int64_t i = 0; i < std::min(a.stride, a.h); ++i)
    for (std::int64_t j = 0; j < std::min(a.stride, a.w); ++j)
      run(phase_axis(i, a.h, a.r, a), phase_axis(j, a.w, a.s, a));
}

template <int kVectorOf>
struct VectorLength {
  static constexpr int value = kVectorOf;
};

/// Calls run(tile, vector length): tiles as wide as the result has columns, tall where rows abound.
template <class Run>
void with_tile(const Conv2dParams& a, Conv2dPass pass, Run&& run) {
  const std::int64_t columns = pass == Conv2dPass::backward_data ? a.c : a.k;
  if (a.c % 4 != 0 || a.k % 4 != 0) {
    if (columns <= 16) return run(ProductTile<64, 16, 4, 4>{}, VectorLength<1>{});
    return run(ProductTile<128, 64, 8, 8>{}, VectorLength<1>{});
  }
  if (columns > 32) return run(ProductTile<128, 64, 8, 8>{}, VectorLength<4>{});
  if (pass == Conv2dPass::backward_weight) {
    if (columns <= 16) return run(ProductTile<64, 16, 4, 4>{}, VectorLength<4>{});
    return run(ProductTile<64, 32, 8, 4>{}, VectorLength<4>{});
  }
  if (columns <= 16) return run(ProductTile<256, 16, 8, 4>{}, VectorLength<4>{});
  return run(ProductTile<128, 32, 8, 4>{}, VectorLength<4>{});
}

template <class Tile>
ProductShape shape_of_phase(const Conv2dParams& a, const PhaseAxis& down, const PhaseAxis& across) {
  return make_product_shape<Tile>(a.n * down.count * across.count, a.c,
                                  std::int64_t{down.taps} * across.taps * a.k);
}

bool supports(const Conv2dParams& params, Conv2dPass) {
  constexpr std::int64_t kMost = std::int64_t{1} << 30;  // indices are 32-bit
  return (params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16) &&
         params.x_shape().elements() <= kMost && params.y_shape().elements() <= kMost &&
         params.w_shape().elements() <= kMost;
}

std::size_t workspace(Context&, const Conv2dParams& a, Conv2dPass pass, GradMode) {
  std::size_t bytes = 0;
  with_tile(a, pass, [&]<class Tile, class Vector>(Tile, Vector) {
    const std::int64_t pixels = a.n * a.p() * a.q(), taps = a.r * a.s * a.c;
    if (pass == Conv2dPass::forward) bytes = make_product_shape<Tile>(pixels, a.k, taps).workspace();
    if (pass == Conv2dPass::backward_weight) bytes = make_product_shape<Tile>(taps, a.k, pixels).workspace();
    if (pass == Conv2dPass::backward_data)
      for_each_phase(a, [&](const PhaseAxis& down, const PhaseAxis& across) {
        bytes = std::max(bytes, shape_of_phase<Tile>(a, down, across).workspace());
      });
  });
  return bytes;
}

void forward(Context& context, const Conv2dParams& a, ConstTensorView x, ConstTensorView w, TensorView y,
             Workspace scratch) {
  if (a.n == 0) return;
  dispatch_storage(a.dtype, [&]<class T>(TypeTag<T>) {
    with_tile(a, Conv2dPass::forward, [&]<class Tile, class Vector>(Tile, Vector) {
      const Window<T> window = window_of(a, x.as<T>());
      const MatrixOperand<T, true> filters{w.as<T>(), as_int(a.k), window.taps, window.taps};
      const ProductOutput<T, MatrixPlace> output{y.as<T>(), {as_int(a.k), 1}};
      launch_product<Tile, Vector::value>(context, PixelRows<T>{window}, filters, output,
                                          make_product_shape<Tile>(window.pixels, a.k, window.taps), scratch);
    });
  });
}

template <class T, class Tile, int kVector>
void backward_data_phase(Context& context, const Conv2dParams& a, const T* dy, const T* w, T* dx,
                         GradMode mode, const PhaseAxis& down, const PhaseAxis& across, Workspace scratch) {
  const ProductShape shape = shape_of_phase<Tile>(a, down, across);
  if (shape.depth == 0 && mode == GradMode::accumulate) return;
  const FastDivisor by_down(down.count), by_across(across.count), by_filters(as_int(a.k));
  const FastDivisor by_phase_width(std::max(across.taps, 1));
  const Window<T> window{dy,          as_int(a.p()),     as_int(a.q()),       as_int(a.k), shape.rows,
                         shape.depth, by_down,           by_across,           by_filters,  by_phase_width,
                         1,           down.first_output, across.first_output, -1};
  const PhaseFilters<T> filters{w,           as_int(a.c),    shape.depth,      as_int(a.r),
                                as_int(a.s), down.first_tap, across.first_tap, as_int(a.stride),
                                by_filters,  by_phase_width};
  const PhasePlace place{by_down,     by_across,  as_int(a.h),  as_int(a.w),
                         as_int(a.c), down.first, across.first, as_int(a.stride)};
  launch_product<Tile, kVector>(context, PixelRows<T>{window}, filters,
                                ProductOutput<T, PhasePlace>{dx, place, mode == GradMode::accumulate}, shape,
                                scratch);
}

void backward_data(Context& context, const Conv2dParams& a, ConstTensorView dy, ConstTensorView w,
                   TensorView dx, GradMode mode, Workspace scratch) {
  if (a.n == 0) return;
  dispatch_storage(a.dtype, [&]<class T>(TypeTag<T>) {
    with_tile(a, Conv2dPass::backward_data, [&]<class Tile, class Vector>(Tile, Vector) {
      for_each_phase(a, [&](const PhaseAxis& down, const PhaseAxis& across) {
        backward_data_phase<T, Tile, Vector::value>(context, a, dy.as<T>(), w.as<T>(), dx.as<T>(), mode, down,
                                                    across, scratch);
      });
    });
  });
}

void backward_weight(Context& context, const Conv2dParams& a, ConstTensorView x, ConstTensorView dy,
                     TensorView dw, GradMode mode, Workspace scratch) {
  if (a.n == 0 && mode == GradMode::accumulate) return;
  dispatch_storage(a.dtype, [&]<class T>(TypeTag<T>) {
    with_tile(a, Conv2dPass::backward_weight, [&]<class Tile, class Vector>(Tile, Vector) {
      const Window<T> window = window_of(a, x.as<T>());
      const MatrixOperand<T, false> gradients{dy.as<T>(), as_int(a.k), window.pixels, as_int(a.k)};
      const ProductOutput<T, MatrixPlace> output{dw.as<T>(), {1, window.taps}, mode == GradMode::accumulate};
      launch_product<Tile, Vector::value>(context, TapRows<T>{window}, gradients, output,
                                          make_product_shape<Tile>(window.taps, a.k, window.pixels), scratch);
    });
  });
}

}  // namespace

const Conv2dRow conv2d_row{
    {"native", kNativeDevice, true}, supports, workspace, forward, backward_data, backward_weight};

}  // namespace zeroth::ZEROTH_NATIVE
