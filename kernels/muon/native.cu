// Muon: momentum, Newton and Schulz's iteration on every matrix, and the update, f32.
// A network has many small matrices (ResNet-20's are 16 x 144 to 64 x 576), so a launch takes up to 64 of
// them at once: where each lies and which of the launch's blocks are its own travels in the kernel's
// arguments, and a block finds its matrix by bisection. A step is 3 + 3 * iterations launches for every 64
// matrices:
//   push     momentum; u goes to the workspace, a tall matrix turned, so that rows never outnumber columns;
//            partial sums of its squares in f64
//   scale    x = u / (|u| + eps)
//   square   g = x x^T, and  b g + c g g: both are a matrix times its own transpose, symmetric, so that the
//            tiles above the diagonal are computed and mirrored
//   apply    a x + (b g + c g g) x
//   finish   weights, and their 16-bit copies
// FLOP for a matrix of m x n, m <= n: 3 m^2 n + m^3 an iteration. Products run on the slices and register
// tiles of tiled_product.cuh, sums in f32 along the whole depth in one order. Every kernel returns at once
// where the guard skips the step. Keller Jordan et al., "Muon" (2024).

#include <algorithm>
#include <cmath>

#include "kernels/core/flat_parameters.cuh"
#include "kernels/core/tiled_product.cuh"
#include "kernels/core/workspace_cutter.h"
#include "kernels/muon/muon.h"

namespace zeroth::ZEROTH_NATIVE {

namespace {

constexpr int kThreads = 256;
constexpr int kChunk = 2048;  // elements of a block in elementwise passes
constexpr int kGroup = 64;    // matrices of a launch: 2 KB of the 4 KB that arguments may have

using SmallTile = ProductTile<32, 32, 4, 4>;
using LargeTile = ProductTile<64, 64, 8, 4>;
constexpr int kLargeSide = 128;  // from here on large tiles

struct Place {
  int offset, rows, columns;  // in the flat buffers
  int x, square;              // in the workspace's buffers

  __device__ int elements() const { return rows * columns; }
  __device__ bool tall() const { return rows > columns; }
  __device__ int side() const { return rows < columns ? rows : columns; }
  __device__ int length() const { return rows < columns ? columns : rows; }
};

/// The matrices of a launch. Entry i of the lists is the first block of matrix i, entry `count` their number.
struct Group {
  int count = 0;
  Place place[kGroup];
  int chunks[kGroup + 1], squares[kGroup + 1], tiles[kGroup + 1];
};

/// The matrix that a block works on.
__device__ inline int matrix_of(const int* first_blocks, int count, int block) {
  int low = 0, high = count;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (first_blocks[middle] <= block ? low : high) = middle;
  }
  return low;
}

__device__ inline bool is_skipped(const float* factor) {
  return factor != nullptr && *factor < 0.0f;
}

struct Partial {
  double update, weight;  // sums of squares
};

/// The sums of a matrix's partials, in every thread. All threads must call it.
__device__ inline Partial joined(const Group& group, int matrix, const Partial* partials) {
  ZEROTH_SHARED(double, slots, [kWarpSize]);
  Partial own{0.0, 0.0};
  for (int i = group.chunks[matrix] + static_cast<int>(threadIdx.x); i < group.chunks[matrix + 1];
       i += kThreads) {
    own.update += partials[i].update;
    own.weight += partials[i].weight;
  }
  own.update = block_sum(own.update, slots);
  own.weight = block_sum(own.weight, slots);
  return own;
}

template <class W>
__global__ void __launch_bounds__(kThreads)
    push_kernel(const FlatPointers<W> flat, float* buffer, const Group group, float momentum, float* x,
                Partial* partials) {
  const float factor = flat.factor();
  if (factor < 0.0f) return;
  ZEROTH_SHARED(double, slots, [kWarpSize]);
  const int block = static_cast<int>(blockIdx.x), matrix = matrix_of(group.chunks, group.count, block);
  const Place place = group.place[matrix];
  const int elements = place.elements(), first = (block - group.chunks[matrix]) * kChunk;
  const int end = min(first + kChunk, elements);
  Partial own{0.0, 0.0};
  for (int i = first + static_cast<int>(threadIdx.x) * kParameterPack; i < end;
       i += kThreads * kParameterPack) {
    // Behind the matrix lies a gap of zeros, up to the next segment.
    const ParameterPack<W> pack(flat, factor, place.offset + i);
    auto b = load_pack<kParameterPack>(buffer + pack.i);
    Pack<float, kParameterPack> u;
#pragma unroll
    for (int e = 0; e < kParameterPack; ++e) {
      b.value[e] = momentum * b.value[e] + pack.gradient.value[e];
      u.value[e] = pack.gradient.value[e] + momentum * b.value[e];
      own.update += static_cast<double>(u.value[e]) * u.value[e];
      own.weight += static_cast<double>(pack.weight.value[e]) * pack.weight.value[e];
    }
    store_pack(buffer + pack.i, b);
    if (!place.tall()) {
      store_pack(x + place.x + i, u);
    } else {
#pragma unroll
      for (int e = 0; e < kParameterPack; ++e)
        if (i + e < elements) {
          const int row = (i + e) / place.columns, column = (i + e) - row * place.columns;
          x[place.x + column * place.rows + row] = u.value[e];
        }
    }
  }
  own.update = block_sum(own.update, slots);
  own.weight = block_sum(own.weight, slots);
  if (threadIdx.x == 0) partials[block] = own;
}

__global__ void __launch_bounds__(kThreads)
    scale_kernel(const Group group, const Partial* partials, const float* factor, float* x) {
  if (is_skipped(factor)) return;
  const int block = static_cast<int>(blockIdx.x), matrix = matrix_of(group.chunks, group.count, block);
  const float scale = static_cast<float>(1.0 / (sqrt(joined(group, matrix, partials).update) + kMuonEps));
  const int first = (block - group.chunks[matrix]) * kChunk;
  const int end = min(first + kChunk, group.place[matrix].elements());
  float* own = x + group.place[matrix].x;
  for (int i = first + static_cast<int>(threadIdx.x); i < end; i += kThreads) own[i] *= scale;
}

/// sum = this thread's part of the tile of A B that starts at (first_row, first_column).
template <class Tile, int kVector, class A, class B>
__device__ inline void sum_tile(const A& a, const B& b, int first_row, int first_column, int depth,
                                float (&sum)[Tile::kThreadRows][Tile::kThreadColumns]) {
  using LoaderA = SliceLoader<Tile, A, Tile::kRows, kVector>;
  using LoaderB = SliceLoader<Tile, B, Tile::kColumns, kVector>;
  ZEROTH_SHARED(__align__(16) float, slices_a, [2][Tile::kDepth][LoaderA::kStride]);
  ZEROTH_SHARED(__align__(16) float, slices_b, [2][Tile::kDepth][LoaderB::kStride]);
  LoaderA loader_a(a, first_row);
  LoaderB loader_b(b, first_column);
  loader_a.fetch(0);
  loader_b.fetch(0);
  for (int at = 0, turn = 0; at < depth; at += Tile::kDepth, turn ^= 1) {
    loader_a.store(slices_a[turn]);
    loader_b.store(slices_b[turn]);
    __syncthreads();
    if (at + Tile::kDepth < depth) {
      loader_a.fetch(at + Tile::kDepth);
      loader_b.fetch(at + Tile::kDepth);
    }
    multiply_slices<Tile, LoaderA::kStride, LoaderB::kStride>(slices_a[turn], slices_b[turn], sum);
  }
}

/// Calls write(row, column, sum) for the elements of this thread's part that lie inside (rows, columns).
template <class Tile, class Write>
__device__ inline void write_each(int first_row, int first_column, int rows, int columns,
                                  const float (&sum)[Tile::kThreadRows][Tile::kThreadColumns],
                                  Write&& write) {
  const int down = static_cast<int>(threadIdx.x) / Tile::kThreadsAcross;
  const int across = static_cast<int>(threadIdx.x) % Tile::kThreadsAcross;
#pragma unroll
  for (int i = 0; i < Tile::kThreadRows; ++i) {
    const int row = first_row + (i / 4 * Tile::kThreadsDown + down) * 4 + i % 4;
#pragma unroll
    for (int j = 0; j < Tile::kThreadColumns; ++j) {
      const int column = first_column + (j / 4 * Tile::kThreadsAcross + across) * 4 + j % 4;
      if (row < rows && column < columns) write(row, column, sum[i][j]);
    }
  }
}

/// What is multiplied by its own transpose: x, to g; or g, to b g + c g g.
enum class Square { of_x, of_g };

template <class Tile, int kVector, Square kSquare>
__global__ void __launch_bounds__(Tile::kThreads)
    square_kernel(const Group group, const float* from, const float* factor, float* to) {
  static_assert(Tile::kRows == Tile::kColumns);
  if (is_skipped(factor)) return;
  const int block = static_cast<int>(blockIdx.x), matrix = matrix_of(group.squares, group.count, block);
  const Place place = group.place[matrix];
  const int side = place.side(), depth = kSquare == Square::of_x ? place.length() : side;
  // The tiles on and above the diagonal, row by row.
  int row = 0, column = block - group.squares[matrix], in_row = (side + Tile::kRows - 1) / Tile::kRows;
  for (; column >= in_row; ++row, --in_row) column -= in_row;
  column += row;
  const float* own = from + (kSquare == Square::of_x ? place.x : place.square);
  const MatrixOperand<float, true> operand{own, side, depth, depth};
  const int first_row = row * Tile::kRows, first_column = column * Tile::kColumns;
  float sum[Tile::kThreadRows][Tile::kThreadColumns] = {};
  sum_tile<Tile, kVector>(operand, operand, first_row, first_column, depth, sum);
  float* result = to + place.square;
  write_each<Tile>(first_row, first_column, side, side, sum, [&](int i, int j, float value) {
    if constexpr (kSquare == Square::of_g)
      value = static_cast<float>(kMuonB) * own[i * side + j] + static_cast<float>(kMuonC) * value;
    result[i * side + j] = value;
    if (row != column) result[j * side + i] = value;
  });
}

template <class Tile, int kVector>
__global__ void __launch_bounds__(Tile::kThreads)
    apply_kernel(const Group group, const float* poly, const float* x, const float* factor, float* next) {
  if (is_skipped(factor)) return;
  const int block = static_cast<int>(blockIdx.x), matrix = matrix_of(group.tiles, group.count, block);
  const Place place = group.place[matrix];
  const int side = place.side(), length = place.length();
  const int across = (length + Tile::kColumns - 1) / Tile::kColumns, tile = block - group.tiles[matrix];
  const int first_row = tile / across * Tile::kRows, first_column = tile % across * Tile::kColumns;
  const float* own = x + place.x;
  float sum[Tile::kThreadRows][Tile::kThreadColumns] = {};
  sum_tile<Tile, kVector>(MatrixOperand<float, true>{poly + place.square, side, side, side},
                          MatrixOperand<float, false>{own, length, side, length}, first_row, first_column,
                          side, sum);
  float* result = next + place.x;
  write_each<Tile>(first_row, first_column, side, length, sum, [&](int i, int j, float value) {
    result[i * length + j] = static_cast<float>(kMuonA) * own[i * length + j] + value;
  });
}

template <class W>
__global__ void __launch_bounds__(kThreads)
    finish_kernel(const FlatPointers<W> flat, const Group group, const Partial* partials, const float* x,
                  bool normalise) {
  const float factor = flat.factor();
  if (factor < 0.0f) return;
  const int block = static_cast<int>(blockIdx.x), matrix = matrix_of(group.chunks, group.count, block);
  const Place place = group.place[matrix];
  const double length = normalise ? sqrt(joined(group, matrix, partials).weight) : 0.0;
  const float ratio = static_cast<float>(place.rows) / static_cast<float>(place.columns);
  const float stretch = ratio > 1.0f ? sqrtf(ratio) : 1.0f;
  const int elements = place.elements(), first = (block - group.chunks[matrix]) * kChunk;
  const int end = min(first + kChunk, elements);
  for (int i = first + static_cast<int>(threadIdx.x) * kParameterPack; i < end;
       i += kThreads * kParameterPack) {
    ParameterPack<W> pack(flat, factor, place.offset + i);
    float keep = 1.0f - pack.learning_rate * pack.decay;
    if (normalise)
      keep = length > 0.0 ? static_cast<float>(sqrt(static_cast<double>(place.rows)) / length) : 1.0f;
    const float size = pack.learning_rate * stretch;
#pragma unroll
    for (int e = 0; e < kParameterPack; ++e) {
      if (i + e >= elements) continue;  // the gap stays zero
      const int row = (i + e) / place.columns, column = (i + e) - row * place.columns;
      const float step = x[place.x + (place.tall() ? column * place.rows + row : i + e)];
      pack.weight.value[e] = keep * pack.weight.value[e] - size * step;
    }
    pack.store(flat);
  }
}

/// Elements of the workspace's buffers begin on 256 bytes.
int padded(std::int64_t elements) {
  return static_cast<int>((elements + 63) / 64 * 64);
}

/// A group with what its buffers hold, in elements.
struct Plan {
  Group group;
  int x = 0, square = 0, chunks = 0;
  bool large = false, vectors = true;

  std::size_t bytes() const {
    return 2 * WorkspaceCutter::padded(static_cast<std::size_t>(x) * sizeof(float)) +
           2 * WorkspaceCutter::padded(static_cast<std::size_t>(square) * sizeof(float)) +
           WorkspaceCutter::padded(static_cast<std::size_t>(chunks) * sizeof(Partial));
  }
};

/// The plan for the matrices from `first` on.
Plan plan_group(const MuonParams& params, std::size_t first) {
  Plan plan;
  Group& group = plan.group;
  group.count = static_cast<int>(std::min<std::size_t>(params.matrices.size() - first, kGroup));
  for (int i = 0; i < group.count; ++i) {
    const MuonMatrix& matrix = params.matrices[first + static_cast<std::size_t>(i)];
    const std::int64_t side = std::min(matrix.rows, matrix.columns);
    plan.large = plan.large || side >= kLargeSide;
    plan.vectors = plan.vectors && matrix.rows % 4 == 0 && matrix.columns % 4 == 0;
    group.place[i] = {static_cast<int>(matrix.offset), static_cast<int>(matrix.rows),
                      static_cast<int>(matrix.columns), plan.x, plan.square};
    plan.x += padded(matrix.rows * matrix.columns);
    plan.square += padded(side * side);
  }
  const std::int64_t tile = plan.large ? LargeTile::kRows : SmallTile::kRows;
  const auto pieces = [](std::int64_t whole, std::int64_t part) { return (whole + part - 1) / part; };
  std::int64_t chunks = 0, squares = 0, tiles = 0;
  for (int i = 0;; ++i) {
    group.chunks[i] = static_cast<int>(chunks);
    group.squares[i] = static_cast<int>(squares);
    group.tiles[i] = static_cast<int>(tiles);
    if (i == group.count) break;
    const MuonMatrix& matrix = params.matrices[first + static_cast<std::size_t>(i)];
    const std::int64_t down = pieces(std::min(matrix.rows, matrix.columns), tile);
    chunks += pieces(matrix.rows * matrix.columns, kChunk);
    squares += down * (down + 1) / 2;
    tiles += down * pieces(std::max(matrix.rows, matrix.columns), tile);
  }
  plan.chunks = static_cast<int>(chunks);
  return plan;
}

bool supports(const MuonParams& params) {
  return params.dtype == DType::f32 && params.elements < std::int64_t{1} << 31;
}

std::size_t workspace(Context&, const MuonParams& params) {
  std::size_t most = 0;
  for (std::size_t first = 0; first < params.matrices.size(); first += kGroup)
    most = std::max(most, plan_group(params, first).bytes());
  return most;
}

struct Buffers {
  float *x, *next, *g, *poly;
};

template <class Tile, int kVector>
void iterate(Context& context, const Group& group, const float* factor, const Buffers& buffers) {
  const dim3 threads(Tile::kThreads), squares(static_cast<unsigned>(group.squares[group.count]));
  launch(square_kernel<Tile, kVector, Square::of_x>, squares, threads, 0, context.stream(), group, buffers.x,
         factor, buffers.g);
  launch(square_kernel<Tile, kVector, Square::of_g>, squares, threads, 0, context.stream(), group, buffers.g,
         factor, buffers.poly);
  launch(apply_kernel<Tile, kVector>, dim3(static_cast<unsigned>(group.tiles[group.count])), threads, 0,
         context.stream(), group, buffers.poly, buffers.x, factor, buffers.next);
}

template <class W>
void step_group(Context& context, const MuonParams& params, const FlatParameters& parameters,
                TensorView buffer, const Plan& plan, Workspace workspace) {
  WorkspaceCutter cutter(workspace);
  const auto take = [&](int elements) {
    return static_cast<float*>(cutter.take(static_cast<std::size_t>(elements) * sizeof(float)));
  };
  Buffers buffers{take(plan.x), take(plan.x), take(plan.square), take(plan.square)};
  auto* partials =
      static_cast<Partial*>(cutter.take(static_cast<std::size_t>(plan.chunks) * sizeof(Partial)));
  const dim3 chunks(static_cast<unsigned>(plan.chunks)), threads(kThreads);
  const FlatPointers<W> flat(parameters);
  const float* factor = flat.gradient_factor;
  launch(push_kernel<W>, chunks, threads, 0, context.stream(), flat, buffer.as<float>(), plan.group,
         static_cast<float>(params.momentum), buffers.x, partials);
  launch(scale_kernel, chunks, threads, 0, context.stream(), plan.group, partials, factor, buffers.x);
  const auto run = plan.large     ? plan.vectors ? iterate<LargeTile, 4> : iterate<LargeTile, 1>
                       : plan.vectors ? iterate<SmallTile, 4>
                                  : iterate<SmallTile, 1>;
  for (std::int64_t i = 0; i < params.iterations; ++i) {
    run(context, plan.group, factor, buffers);
    std::swap(buffers.x, buffers.next);
  }
  launch(finish_kernel<W>, chunks, threads, 0, context.stream(), flat, plan.group, partials, buffers.x,
         params.normalise);
}

void step(Context& context, const MuonParams& params, const FlatParameters& parameters,
          TensorView momentum_buffer, Workspace workspace) {
  dispatch_working(params, [&]<class W>(TypeTag<W>) {
    for (std::size_t first = 0; first < params.matrices.size(); first += kGroup)
      step_group<W>(context, params, parameters, momentum_buffer, plan_group(params, first), workspace);
  });
}

}  // namespace

const MuonRow muon_row{{"native", kNativeDevice, true}, supports, workspace, step};

}  // namespace zeroth::ZEROTH_NATIVE
