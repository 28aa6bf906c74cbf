#pragma once

// A block's share of a matrix product whose factors are described by loaders, so that one loop serves linear
// layers and the three passes of a convolution (as implicit products: no patch matrix is ever written).
//
//   result(m, n) = sum over depth in [begin, end) of a(m, depth) * b(n, depth)
//
// A loader has
//   static constexpr bool kDepthContiguous   whether neighbours in memory are neighbours in depth, or in row
//   Row row(int), Depth depth(int)           decode an index once; an index past the end gives something that
//   loads 0 float load(Row, Depth)
// The block stages kDepth columns of both factors in shared memory; each thread then multiplies a 4 x 4 piece
// in registers, reading 8 values for 16 products. (Volkov and Demmel, "Benchmarking GPUs to tune dense linear
// algebra", 2008.)

#include "kernels/core/block.cuh"

namespace zeroth::ZEROTH_NATIVE {

template <int kM_, int kN_>
struct Tile {
  static constexpr int kM = kM_, kN = kN_, kDepth = 16;
  static constexpr int kPiece = 4;  // a thread's rows and columns
  static constexpr int kThreads = kM * kN / (kPiece * kPiece);
};

/// Copies kRows x kDepth values of a factor into shared memory, lanes running along what is contiguous in
/// memory.
template <int kRows, int kThreads, int kDepth, class Loader>
struct Stager {
  static constexpr int kLoads = kRows * kDepth / kThreads;  // of each thread
  static constexpr int kAlong = Loader::kDepthContiguous ? kDepth : kRows;
  static constexpr int kStep = kThreads / kAlong;
  static_assert(kThreads % kAlong == 0 && kRows * kDepth % kThreads == 0,
                "threads must cover a staged factor evenly");

  /// Depth-contiguous loaders decode their rows once, here; the others have one row a thread.
  __device__ Stager(const Loader& from, int first_row) : loader(from) {
    for (int i = 0; i < kRowCount; ++i) rows[i] = from.row(first_row + row_of(i));
  }

  __device__ void stage(float (*to)[kRows], int first_depth, int end_depth) const {
    for (int i = 0; i < kLoads; ++i) {
      const int depth = depth_of(i);
      const bool inside = first_depth + depth < end_depth;
      to[depth][row_of(i)] =
          inside ? loader.load(rows[Loader::kDepthContiguous ? i : 0], loader.depth(first_depth + depth))
                 : 0.0f;
    }
  }

 private:
  static constexpr int kRowCount = Loader::kDepthContiguous ? kLoads : 1;

  __device__ static int row_of(int i) {
    const int thread = static_cast<int>(threadIdx.x);
    return Loader::kDepthContiguous ? thread / kAlong + i * kStep : thread % kAlong;
  }
  __device__ static int depth_of(int i) {
    const int thread = static_cast<int>(threadIdx.x);
    return Loader::kDepthContiguous ? thread % kAlong : thread / kAlong + i * kStep;
  }

  Loader loader;
  typename Loader::Row rows[kRowCount];
};

/// Computes the tile whose first row is m0 and first column n0, and calls write(m, n, sum) for each of its
/// elements, those past the ends included. All threads of the block must call it.
template <class Shape, class A, class B, class Write>
__device__ inline void tile_product(const A& a, const B& b, int m0, int n0, int begin, int end,
                                    Write&& write) {
  ZEROTH_SHARED(__align__(16) float, a_tile, [Shape::kDepth][Shape::kM]);
  ZEROTH_SHARED(__align__(16) float, b_tile, [Shape::kDepth][Shape::kN]);
  constexpr int kPiece = Shape::kPiece;
  const int thread = static_cast<int>(threadIdx.x);
  const int m = thread / (Shape::kN / kPiece) * kPiece, n = thread % (Shape::kN / kPiece) * kPiece;

  const Stager<Shape::kM, Shape::kThreads, Shape::kDepth, A> stage_a(a, m0);
  const Stager<Shape::kN, Shape::kThreads, Shape::kDepth, B> stage_b(b, n0);
  float sums[kPiece][kPiece] = {};
  for (int first = begin; first < end; first += Shape::kDepth) {
    stage_a.stage(a_tile, first, end);
    stage_b.stage(b_tile, first, end);
    __syncthreads();
    for (int depth = 0; depth < Shape::kDepth; ++depth) {
      const auto a_piece = load_pack<kPiece>(&a_tile[depth][m]),
                 b_piece = load_pack<kPiece>(&b_tile[depth][n]);
      for (int i = 0; i < kPiece; ++i)
        for (int j = 0; j < kPiece; ++j) sums[i][j] += a_piece.value[i] * b_piece.value[j];
    }
    __syncthreads();
  }
  for (int i = 0; i < kPiece; ++i)
    for (int j = 0; j < kPiece; ++j) write(m0 + m + i, n0 + n + j, sums[i][j]);
}

/// Calls body(Tile<...>{}) with the tile that wastes least on a product of `columns` columns.
template <class Body>
void with_tile(std::int64_t columns, Body&& body) {
  if (columns <= 16)
    body(Tile<128, 16>{});
  else if (columns <= 32)
    body(Tile<128, 32>{});
  else
    body(Tile<64, 64>{});
}

inline int ceil_divide(std::int64_t a, std::int64_t b) {
  return static_cast<int>((a + b - 1) / b);
}

}  // namespace zeroth::ZEROTH_NATIVE
