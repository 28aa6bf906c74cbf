// 3x3 convolutions of stride 1 on the CPU by Winograd's minimal filtering (winograd.h): a quarter of the
// products of the plain sum, as 36 matrix products a block of tiles. Pictures stay NHWC: sixteen channels are
// one vector, so a tile is 36 loads, and nothing is reordered. A block of tiles is transformed, multiplied
// and transformed back while it lies in the second cache. Arithmetic is f32 for every storage dtype.
//
// The price is accuracy: terms that cancel on the way back are larger than those of the plain sum, and so are
// their roundings (docs/kernels/winograd.md; the tests compute the bound). One NaN or infinity spreads over
// its tile.
// `--impl conv2d=onednn` is the plain sum.
//
// Bytes a pass: x and y once, and 36 C K floats of transformed filters that stay in cache. Multiply-adds: n p
// q / 16 tiles of 36 C K, and about 9 vector operations for each of the 36 points, sixteen channels in and
// out.

#include "kernels/conv2d/winograd.h"

#include <omp.h>

#include <array>

#include "kernels/conv2d/conv2d.h"
#include "kernels/core/onednn.h"
#include "kernels/core/parallel.h"
#include "kernels/core/workspace_cutter.h"

namespace zeroth::cpu {

namespace {

using namespace winograd;

constexpr std::int64_t kTilePoints = kPoints * kPoints;
constexpr std::int64_t kMaxChannels = 128;  // beyond, the transformed filters outgrow the cache
constexpr std::int64_t kMaxGradientParts = 8;
// Below these, transforms cost what they save, and the plain sum is more accurate; the filters' gradient,
// whose transforms back are few, pays always. Processors that multiply pairs of bf16 do the plain sum faster.
constexpr std::int64_t kFewest = 32, kFewestAgainstPairs = 64;

/// Sums that a matrix product keeps in registers, in lanes.
#ifdef __AVX512F__
constexpr int kSumLanes = 24;
#else
constexpr int kSumLanes = 6;
#endif

/// The 4x4 tiles that cover the pictures, and the blocks of them that are worked on at once.
struct Tiles {
  std::int64_t h, w, across, down, count, block, blocks;

  explicit Tiles(const Conv2dParams& params)
      : h(params.h),
        w(params.w),
        across((params.w + kOutputs - 1) / kOutputs),
        down((params.h + kOutputs - 1) / kOutputs),
        count(params.n * across * down),
        block(24),
        blocks((count + block - 1) / block) {}

  /// The first pixel of a tile: picture, row, column.
  std::array<std::int64_t, 3> origin(std::int64_t tile) const {
    return {tile / (across * down), tile / across % down * kOutputs, tile % across * kOutputs};
  }
  /// Floats from one point's matrix to the next: not a power of two, whose multiples would share few cache
  /// sets.
  std::int64_t point_stride(std::int64_t channels) const { return block * channels + kLane; }
  std::int64_t points_size(std::int64_t channels) const { return kTilePoints * point_stride(channels); }
};

/// Transforms one square of pixels, sixteen channels each, that begins at (row, column); pixels outside count
/// as 0.
template <class Map, bool kInside, class T>
void transform_square(const Tiles& tiles, const T* picture, std::int64_t channels, std::int64_t row,
                      std::int64_t column, std::int64_t stride, float* to) {
  transform<Map>(
      [&](int i, int j, Lane& lane) {
        const std::int64_t r = row + i, c = column + j;
        if (kInside || (r >= 0 && c >= 0 && r < tiles.h && c < tiles.w))
          load<true>(picture + (r * tiles.w + c) * channels, kLane, lane);
        else
          lane = Lane{};
      },
      [&](int i, int j, const Lane& lane) { store<true>(lane, kLane, to + (i * kPoints + j) * stride); });
}

/// Transforms the squares of a block of tiles: to[point][tile][channel].
template <class Map, class T>
void transform_block(const Tiles& tiles, const T* from, std::int64_t channels, std::int64_t first,
                     float* to) {
  constexpr int kSide = Map::kFrom,
                kBefore = kSide == kPoints ? 1 : 0;  // an input's square begins in the padding
  const std::int64_t stride = tiles.point_stride(channels), last = std::min(first + tiles.block, tiles.count);
  for (std::int64_t tile = first; tile < last; ++tile) {
    const auto [n, tile_row, tile_column] = tiles.origin(tile);
    const std::int64_t row = tile_row - kBefore, column = tile_column - kBefore;
    const bool inside = row >= 0 && column >= 0 && row + kSide <= tiles.h && column + kSide <= tiles.w;
    for (std::int64_t c = 0; c < channels; c += kLane) {
      const T* picture = from + n * tiles.h * tiles.w * channels + c;
      float* at = to + (tile - first) * channels + c;
      if (inside)
        transform_square<Map, true>(tiles, picture, channels, row, column, stride, at);
      else
        transform_square<Map, false>(tiles, picture, channels, row, column, stride, at);
    }
  }
  for (std::int64_t tile = last; tile < first + tiles.block;
       ++tile)  // the last block's rest counts for nothing
    for (std::int64_t point = 0; point < kTilePoints; ++point)
      std::memset(to + point * stride + (tile - first) * channels, 0,
                  static_cast<std::size_t>(channels) * sizeof(float));
}

/// c[i][j] = sum over p of a[i][p] b[p][j], for kRows rows i and kColumns lanes j. Row-major, `depth` columns
/// in a.
template <int kRows, int kColumns>
void multiply_rows(const float* a, const float* b, float* c, std::int64_t depth, std::int64_t width) {
  Lane sums[kRows][kColumns] = {};
  for (std::int64_t p = 0; p < depth; ++p) {
    Lane row[kColumns];
    for (int j = 0; j < kColumns; ++j) load<true>(b + p * width + j * kLane, kLane, row[j]);
#pragma GCC unroll 24
    for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
      for (int j = 0; j < kColumns; ++j) sums[i][j] += a[i * depth + p] * row[j];
  }
  for (int i = 0; i < kRows; ++i)
    for (int j = 0; j < kColumns; ++j) store<true>(sums[i][j], kLane, c + i * width + j * kLane);
}

/// c (rows, width) = a (rows, depth) b (depth, width), for a block's rows.
template <int kColumns>
void multiply(const float* a, const float* b, float* c, std::int64_t rows, std::int64_t depth,
              std::int64_t width) {
  constexpr int kRows = kSumLanes / kColumns;
  for (std::int64_t j = 0; j < width; j += kColumns * kLane)
    for (std::int64_t i = 0; i < rows; i += kRows)
      multiply_rows<kRows, kColumns>(a + i * depth, b + j, c + i * width + j, depth, width);
}

/// c[i][j] = (before +) sum over p of a[p][i] b[p][j], for kRows rows i and kColumns lanes j: sums over
/// tiles.
template <int kRows, int kColumns>
void add_product_rows(const float* a, const float* b, bool adds, float* c, std::int64_t depth,
                      std::int64_t rows, std::int64_t width) {
  Lane sums[kRows][kColumns] = {};
  if (adds)
    for (int i = 0; i < kRows; ++i)
      for (int j = 0; j < kColumns; ++j) load<true>(c + i * width + j * kLane, kLane, sums[i][j]);
  for (std::int64_t p = 0; p < depth; ++p) {
    Lane row[kColumns];
    for (int j = 0; j < kColumns; ++j) load<true>(b + p * width + j * kLane, kLane, row[j]);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
      for (int j = 0; j < kColumns; ++j) sums[i][j] += a[p * rows + i] * row[j];
  }
  for (int i = 0; i < kRows; ++i)
    for (int j = 0; j < kColumns; ++j) store<true>(sums[i][j], kLane, c + i * width + j * kLane);
}

template <int kColumns>
void add_product(const float* a, const float* b, bool adds, float* c, std::int64_t depth, std::int64_t rows,
                 std::int64_t width) {
  constexpr int kRows = kSumLanes >= 24 ? 16 / kColumns : 4 / kColumns;
  for (std::int64_t i = 0; i < rows; i += kRows)
    for (std::int64_t j = 0; j < width; j += kColumns * kLane)
      add_product_rows<kRows, kColumns>(a + i, b + j, adds, c + i * width + j, depth, rows, width);
}

/// Adds to or overwrites the 4x4 outputs of each tile of a block.
template <class T>
void finish_block(const Tiles& tiles, const float* products, std::int64_t channels, std::int64_t first,
                  GradMode mode, T* to) {
  const std::int64_t stride = tiles.point_stride(channels), last = std::min(first + tiles.block, tiles.count);
  for (std::int64_t tile = first; tile < last; ++tile) {
    const auto [n, row, column] = tiles.origin(tile);
    const std::int64_t rows = std::min<std::int64_t>(kOutputs, tiles.h - row),
                       columns = std::min<std::int64_t>(kOutputs, tiles.w - column);
    for (std::int64_t c = 0; c < channels; c += kLane) {
      const float* at = products + (tile - first) * channels + c;
      T* corner = to + ((n * tiles.h + row) * tiles.w + column) * channels + c;
      transform<OutputMap>(
          [&](int i, int j, Lane& lane) { load<true>(at + (i * kPoints + j) * stride, kLane, lane); },
          [&](int i, int j, const Lane& lane) {
            if (i >= rows || j >= columns) return;
            T* pixel = corner + (i * tiles.w + j) * channels;
            Lane value = lane;
            if (mode == GradMode::accumulate) {
              Lane before;
              load<true>(pixel, kLane, before);
              value += before;
            }
            store<true>(value, kLane, pixel);
          });
    }
  }
}

/// The transformed filters of forward: to[point][c][k].
template <class T>
void filters_for_forward(const Conv2dParams& params, const T* w, float* to) {
  parallel_for(params.k, 9 * params.c * kLane, [=, &params](std::int64_t begin, std::int64_t end) {
    for (std::int64_t k = begin; k < end; ++k)
      for (std::int64_t c = 0; c < params.c; c += kLane) {
        transform<FilterMap>(
            [&](int r, int s, Lane& lane) {
              load<true>(w + (k * 9 + r * kTaps + s) * params.c + c, kLane, lane);
            },
            [&](int i, int j, const Lane& lane) {
              for (std::int64_t l = 0; l < kLane; ++l)
                to[((i * kPoints + j) * params.c + c + l) * params.k + k] = lane[l];
            });
      }
  });
}

/// The transformed filters of backward data, turned by half a turn: to[point][k][c].
template <class T>
void filters_for_backward(const Conv2dParams& params, const T* w, float* to) {
  parallel_for(params.k, 9 * params.c * kLane, [=, &params](std::int64_t begin, std::int64_t end) {
    for (std::int64_t k = begin; k < end; ++k)
      for (std::int64_t c = 0; c < params.c; c += kLane) {
        transform<FilterMap>(
            [&](int r, int s, Lane& lane) {
              load<true>(w + (k * 9 + 8 - r * kTaps - s) * params.c + c, kLane, lane);
            },
            [&](int i, int j, const Lane& lane) {
              store<true>(lane, kLane, to + ((i * kPoints + j) * params.k + k) * params.c + c);
            });
      }
  });
}

/// out = the convolution of `in` (n, h, w, depth) with transformed filters (point, depth, width).
template <class T>
void run_filters(const Tiles& tiles, const T* in, std::int64_t depth, const float* filters, T* out,
                 std::int64_t width, GradMode mode, float* scratch) {
  const std::int64_t in_size = tiles.points_size(depth), each = in_size + tiles.points_size(width);
  parallel_for(tiles.blocks, tiles.block * 16 * (depth + width),
               [=, &tiles](std::int64_t begin, std::int64_t end) {
                 float* inputs = scratch + omp_get_thread_num() * each;
                 float* products = inputs + in_size;
                 for (std::int64_t block = begin; block < end; ++block) {
                   const std::int64_t first = block * tiles.block;
                   transform_block<InputMap>(tiles, in, depth, first, inputs);
                   for (std::int64_t point = 0; point < kTilePoints; ++point) {
                     const float* a = inputs + point * tiles.point_stride(depth);
                     const float* b = filters + point * depth * width;
                     float* c = products + point * tiles.point_stride(width);
                     if (width % (2 * kLane) == 0)
                       multiply<2>(a, b, c, tiles.block, depth, width);
                     else
                       multiply<1>(a, b, c, tiles.block, depth, width);
                   }
                   finish_block(tiles, products, width, first, mode, out);
                 }
               });
}

bool supports(const Conv2dParams& params, Conv2dPass pass) {
  const bool fits = params.n > 0 && params.r == kTaps && params.s == kTaps && params.stride == 1 &&
                    params.padding == 1 && params.c % kLane == 0 && params.k % kLane == 0 &&
                    params.c <= kMaxChannels && params.k <= kMaxChannels;
  const std::int64_t fewest =
      params.dtype == DType::bf16 && onednn_has_bf16() ? kFewestAgainstPairs : kFewest;
  const bool pays = pass == Conv2dPass::backward_weight || std::min(params.c, params.k) >= fewest;
  return fits && pays && params.dtype != DType::f64;
}

/// Backward weight sums over this many parts of the tiles, and then over parts: as many for any number of
/// threads.
std::int64_t gradient_parts(const Tiles& tiles) {
  return std::clamp<std::int64_t>(tiles.blocks, 1, kMaxGradientParts);
}

std::size_t bytes_of(std::int64_t floats) {
  return WorkspaceCutter::padded(static_cast<std::size_t>(floats) * sizeof(float));
}

struct Sizes {
  Tiles tiles;
  std::int64_t filters, scratch, gradients;  // floats

  Sizes(const Conv2dParams& params)
      : tiles(params),
        filters(kTilePoints * params.c * params.k),
        scratch(omp_get_max_threads() * (tiles.points_size(params.c) + tiles.points_size(params.k))),
        gradients(gradient_parts(tiles) * filters) {}
};

std::size_t workspace(Context&, const Conv2dParams& params, Conv2dPass pass, GradMode) {
  const Sizes sizes(params);
  return bytes_of(sizes.scratch) +
         bytes_of(pass == Conv2dPass::backward_weight ? sizes.gradients : sizes.filters);
}

float* take(WorkspaceCutter& cutter, std::int64_t floats) {
  return static_cast<float*>(cutter.take(static_cast<std::size_t>(floats) * sizeof(float)));
}

void forward(Context&, const Conv2dParams& params, ConstTensorView x, ConstTensorView w, TensorView y,
             Workspace workspace) {
  const Sizes sizes(params);
  WorkspaceCutter cutter(workspace);
  float *filters = take(cutter, sizes.filters), *scratch = take(cutter, sizes.scratch);
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    filters_for_forward(params, w.as<T>(), filters);
    run_filters(sizes.tiles, x.as<T>(), params.c, filters, y.as<T>(), params.k, GradMode::overwrite, scratch);
  });
}

void backward_data(Context&, const Conv2dParams& params, ConstTensorView dy, ConstTensorView w, TensorView dx,
                   GradMode mode, Workspace workspace) {
  const Sizes sizes(params);
  WorkspaceCutter cutter(workspace);
  float *filters = take(cutter, sizes.filters), *scratch = take(cutter, sizes.scratch);
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    filters_for_backward(params, w.as<T>(), filters);
    run_filters(sizes.tiles, dy.as<T>(), params.k, filters, dx.as<T>(), params.c, mode, scratch);
  });
}

/// sums[c][k] of each point, over the tiles of one part.
template <class T>
void sum_part(const Conv2dParams& params, const Tiles& tiles, const T* x, const T* dy,
              std::int64_t first_block, std::int64_t last_block, float* scratch, float* sums) {
  float *inputs = scratch, *gradients = scratch + tiles.points_size(params.c);
  for (std::int64_t block = first_block; block < last_block; ++block) {
    const std::int64_t first = block * tiles.block;
    const bool adds = block > first_block;
    transform_block<InputMap>(tiles, x, params.c, first, inputs);
    transform_block<OutputGradientMap>(tiles, dy, params.k, first, gradients);
    for (std::int64_t point = 0; point < kTilePoints; ++point) {
      const float* a = inputs + point * tiles.point_stride(params.c);
      const float* b = gradients + point * tiles.point_stride(params.k);
      float* c = sums + point * params.c * params.k;
      if (params.k % (2 * kLane) == 0)
        add_product<2>(a, b, adds, c, tiles.block, params.c, params.k);
      else
        add_product<1>(a, b, adds, c, tiles.block, params.c, params.k);
    }
  }
}

template <class T>
void write_filter_gradients(const Conv2dParams& params, const float* sums, std::int64_t parts, GradMode mode,
                            T* dw) {
  const std::int64_t size = params.c * params.k;
  parallel_for(params.c, kTilePoints * parts * params.k, [=, &params](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c = begin; c < end; ++c)
      for (std::int64_t k = 0; k < params.k; k += kLane) {
        transform<FilterGradientMap>(
            [&](int i, int j, Lane& lane) {
              lane = Lane{};
              for (std::int64_t part = 0; part < parts; ++part) {
                Lane sum;
                load<true>(sums + (part * kTilePoints + i * kPoints + j) * size + c * params.k + k, kLane,
                           sum);
                lane += sum;
              }
            },
            [&](int r, int s, const Lane& lane) {
              for (std::int64_t l = 0; l < kLane; ++l) {
                T& to = dw[((k + l) * 9 + r * kTaps + s) * params.c + c];
                to = from_compute<T>((mode == GradMode::accumulate ? to_compute(to) : 0.0f) + lane[l]);
              }
            });
      }
  });
}

void backward_weight(Context&, const Conv2dParams& params, ConstTensorView x, ConstTensorView dy,
                     TensorView dw, GradMode mode, Workspace workspace) {
  const Sizes sizes(params);
  const Tiles& tiles = sizes.tiles;
  WorkspaceCutter cutter(workspace);
  float *sums = take(cutter, sizes.gradients), *scratch = take(cutter, sizes.scratch);
  const std::int64_t parts = gradient_parts(tiles);
  const std::int64_t each = tiles.points_size(params.c) + tiles.points_size(params.k);
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    parallel_for(parts, tiles.count / parts * 16 * (params.c + params.k),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t part = begin; part < end; ++part)
                     sum_part(params, tiles, x.as<T>(), dy.as<T>(), tiles.blocks * part / parts,
                              tiles.blocks * (part + 1) / parts, scratch + omp_get_thread_num() * each,
                              sums + part * sizes.filters);
                 });
    write_filter_gradients(params, sums, parts, mode, dw.as<T>());
  });
}

}  // namespace

const Conv2dRow conv2d_winograd_row{
    {"winograd", DeviceKind::cpu, true}, supports, workspace, forward, backward_data, backward_weight};

}  // namespace zeroth::cpu
