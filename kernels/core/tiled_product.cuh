#pragma once

// A matrix product through shared memory and registers: C (rows, columns) = A (rows, depth) B (depth,
// columns), summed in f32. A and B are operand types, so that an element may be gathered from a picture as
// well as read from a matrix: convolution and fully connected layers share this one kernel.
//
// A block computes one tile of C. Step by step along the depth it copies a slice of A and of B into shared
// memory, transposed so that rows lie side by side, while each thread multiplies the slice before into its
// own small tile of registers: 2 * kThreadRows * kThreadColumns operations for kThreadRows + kThreadColumns
// values read. Two slices take turns, so one barrier a step is enough; the next slice waits in registers.
// Where C has too few tiles to fill a GPU the depth is split between blocks; their partial tiles go to the
// workspace, and a second kernel adds them in a fixed order. How a problem is split depends on its size
// alone. (Simon Boehm, "How to optimize a CUDA matmul kernel"; CUTLASS's documentation, "Efficient GEMM in
// CUDA".)

#include <algorithm>
#include <cstdint>
#include <utility>

#include "kernels/core/block.cuh"
#include "kernels/core/context.h"

namespace zeroth::ZEROTH_NATIVE {

/// Quotients by a number that the host knows, for 0 <= n < 2^31: a multiplication, an addition and a shift
/// instead of a division (Granlund and Montgomery, "Division by invariant integers using multiplication").
class FastDivisor {
 public:
  explicit FastDivisor(int divisor) : divisor_(static_cast<std::uint32_t>(divisor)) {
    while ((std::uint64_t{1} << shift_) < divisor_) ++shift_;
    const std::uint64_t power = std::uint64_t{1} << shift_;
    multiplier_ = static_cast<std::uint32_t>(((power - divisor_) << 32) / divisor_ + 1);
  }
  /// Replaces n by the remainder and returns the quotient.
  __device__ int divide(int& n) const {
    const auto dividend = static_cast<std::uint32_t>(n);
    const auto high = static_cast<std::uint32_t>((std::uint64_t{dividend} * multiplier_) >> 32);
    const std::uint32_t quotient = (high + dividend) >> shift_;
    n = static_cast<int>(dividend - quotient * divisor_);
    return static_cast<int>(quotient);
  }

 private:
  std::uint32_t divisor_, multiplier_ = 0, shift_ = 0;
};

/// What a block and a thread of it compute. Thread tiles are made of runs of four.
template <int kRowsOf, int kColumnsOf, int kThreadRowsOf, int kThreadColumnsOf>
struct ProductTile {
  static constexpr int kRows = kRowsOf, kColumns = kColumnsOf, kDepth = 16;
  static constexpr int kThreadRows = kThreadRowsOf, kThreadColumns = kThreadColumnsOf;
  static constexpr int kThreadsDown = kRows / kThreadRows, kThreadsAcross = kColumns / kThreadColumns;
  static constexpr int kThreads = kThreadsDown * kThreadsAcross;
  static_assert(kThreadRows % 4 == 0 && kThreadColumns % 4 == 0 && kThreads % kWarpSize == 0);
};

// An operand has an Element type, kAlongDepth (whether elements of increasing depth lie side by side, or
// elements of neighbouring rows; for B a "row" is a column of C), row(i) and depth(d), which do the index
// arithmetic of one coordinate and answer for coordinates beyond the end, too, and load<N>(row, depth): N
// elements, zeros outside.

/// A matrix in memory as an operand. Element (row, depth) lies at row * stride + depth when kAlongDepth, else
/// at depth * stride + row. Fewer than 2^31 elements.
template <class T, bool kAlongDepthOf>
struct MatrixOperand {
  using Element = T;
  static constexpr bool kAlongDepth = kAlongDepthOf;
  const T* data;
  int rows, depths, stride;

  __device__ int row(int i) const { return i < rows ? (kAlongDepth ? i * stride : i) : -1; }
  __device__ int depth(int d) const { return d < depths ? (kAlongDepth ? d : d * stride) : -1; }
  template <int N>
  __device__ Pack<T, N> load(int row, int depth) const {
    if ((row | depth) < 0) return {};
    return load_pack<N>(data + row + depth);
  }
};

/// Copies slices of one operand, kExtent rows by Tile::kDepth, through registers into shared memory.
template <class Tile, class Operand, int kExtent, int kVector>
class SliceLoader {
 public:
  static constexpr int kStride = kExtent + 4;  // of the slice in shared memory, to spread banks

  __device__ SliceLoader(const Operand& operand, int first_row) : operand_(operand) {
#pragma unroll
    for (int i = 0; i < kRowCount; ++i)
      row_[i] = operand.row(first_row + (Operand::kAlongDepth ? slow(i) : fast() * kVector));
  }

  /// Global memory to registers.
  __device__ void fetch(int first_depth) {
    if constexpr (Operand::kAlongDepth) {
      const auto depth = operand_.depth(first_depth + fast() * kVector);
#pragma unroll
      for (int i = 0; i < kLoads; ++i)
        if (mine(i)) staged_[i] = operand_.template load<kVector>(row_[i], depth);
    } else {
#pragma unroll
      for (int i = 0; i < kLoads; ++i)
        if (mine(i))
          staged_[i] = operand_.template load<kVector>(row_[0], operand_.depth(first_depth + slow(i)));
    }
  }

  /// Registers to shared memory.
  __device__ void store(float (*slice)[kStride]) const {
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      if (!mine(i)) continue;
      if constexpr (Operand::kAlongDepth || kVector == 1) {
#pragma unroll
        for (int j = 0; j < kVector; ++j) {
          const float value = to_compute(staged_[i].value[j]);
          if constexpr (Operand::kAlongDepth)
            slice[fast() * kVector + j][slow(i)] = value;
          else
            slice[slow(i)][fast()] = value;
        }
      } else {
        Pack<float, kVector> values;
#pragma unroll
        for (int j = 0; j < kVector; ++j) values.value[j] = to_compute(staged_[i].value[j]);
        store_pack(&slice[slow(i)][fast() * kVector], values);
      }
    }
  }

 private:
  static constexpr int kVectors = kExtent * Tile::kDepth / kVector;
  static constexpr int kLoads = (kVectors + Tile::kThreads - 1) / Tile::kThreads;
  /// Vectors along the direction in which elements lie side by side; each thread keeps to one of them.
  static constexpr int kFast = (Operand::kAlongDepth ? Tile::kDepth : kExtent) / kVector;
  static constexpr int kRowCount = Operand::kAlongDepth ? kLoads : 1;
  static_assert(Tile::kThreads % kFast == 0);

  __device__ static int fast() {
    return static_cast<int>(threadIdx.x) % kFast;
  }
  __device__ static int slow(int i) {
    return static_cast<int>(threadIdx.x) / kFast + i * (Tile::kThreads / kFast);
  }
  __device__ static bool mine(int i) {
    return kVectors % Tile::kThreads == 0 || static_cast<int>(threadIdx.x) + i * Tile::kThreads < kVectors;
  }

  using RowState = decltype(std::declval<const Operand&>().row(0));
  const Operand& operand_;
  RowState row_[kRowCount];
  Pack<typename Operand::Element, kVector> staged_[kLoads] = {};
};

/// Where C goes. Element (row, column) lies at place.offset(row) + column * place.column_stride.
template <class T, class Place>
struct ProductOutput {
  T* data;
  Place place;
  bool accumulate = false;
  const float* bias = nullptr;  // (columns), or null

  __device__ float finished(float sum, int column, T old) const {
    if (bias != nullptr) sum += bias[column];
    return accumulate ? sum + to_compute(old) : sum;
  }
  __device__ void write(int row, int column, float sum) const {
    T& element = data[place.offset(row) + column * place.column_stride];
    element = from_compute<T>(finished(sum, column, accumulate ? element : T{}));
  }
  /// Four neighbouring columns, the first one a multiple of four, as are all row starts.
  __device__ void write_four(int row, int column, const float* sums) const {
    T* start = data + place.offset(row) + column;
    Pack<T, 4> pack{};
    if (accumulate) pack = load_pack<4>(start);
#pragma unroll
    for (int i = 0; i < 4; ++i) pack.value[i] = from_compute<T>(finished(sums[i], column + i, pack.value[i]));
    store_pack(start, pack);
  }
};

/// The rows of C lie `row_stride` apart. As T(C), columns and rows change places.
struct MatrixPlace {
  int row_stride, column_stride;
  __device__ int offset(int row) const { return row * row_stride; }
};

/// The size of a product and how it is cut: each of `splits` blocks of a tile sums depth_per_split elements.
struct ProductShape {
  int rows, columns, depth;
  int splits = 1, depth_per_split = 0;

  std::int64_t elements() const { return std::int64_t{rows} * columns; }
  /// Bytes for the partial tiles.
  std::size_t workspace() const {
    return splits == 1 ? 0 : static_cast<std::size_t>(splits * elements()) * sizeof(float);
  }
};

template <class Tile>
ProductShape make_product_shape(std::int64_t rows, std::int64_t columns, std::int64_t depth) {
  // Enough blocks for four on each SM of today's largest GPUs; a split shorter than kShortest costs more in
  // partial sums than it gains, one longer than kLongest would add up rounding errors.
  constexpr std::int64_t kBlocks = 528, kShortest = 128, kLongest = 8192;
  const auto pieces = [](std::int64_t whole, std::int64_t part) { return (whole + part - 1) / part; };
  const std::int64_t tiles =
      std::max<std::int64_t>(pieces(rows, Tile::kRows) * pieces(columns, Tile::kColumns), 1);
  const std::int64_t wanted = std::max(pieces(depth, kLongest), std::min(kBlocks / tiles, depth / kShortest));
  const std::int64_t longest = pieces(depth, std::max<std::int64_t>(wanted, 1));
  const std::int64_t per_split = std::max<std::int64_t>(pieces(longest, Tile::kDepth), 1) * Tile::kDepth;
  return {static_cast<int>(rows), static_cast<int>(columns), static_cast<int>(depth),
          static_cast<int>(std::max<std::int64_t>(pieces(depth, per_split), 1)), static_cast<int>(per_split)};
}

/// sum[i][j] += the products of this thread's rows of a slice of A with its columns of one of B.
template <class Tile, int kStrideA, int kStrideB>
__device__ inline void multiply_slices(const float (*a)[kStrideA], const float (*b)[kStrideB],
                                       float (&sum)[Tile::kThreadRows][Tile::kThreadColumns]) {
  const int down = static_cast<int>(threadIdx.x) / Tile::kThreadsAcross;
  const int across = static_cast<int>(threadIdx.x) % Tile::kThreadsAcross;
#pragma unroll 4
  for (int d = 0; d < Tile::kDepth; ++d) {
    Pack<float, 4> row[Tile::kThreadRows / 4], column[Tile::kThreadColumns / 4];
#pragma unroll
    for (int i = 0; i < Tile::kThreadRows / 4; ++i)
      row[i] = load_pack<4>(&a[d][(i * Tile::kThreadsDown + down) * 4]);
#pragma unroll
    for (int j = 0; j < Tile::kThreadColumns / 4; ++j)
      column[j] = load_pack<4>(&b[d][(j * Tile::kThreadsAcross + across) * 4]);
#pragma unroll
    for (int i = 0; i < Tile::kThreadRows; ++i)
#pragma unroll
      for (int j = 0; j < Tile::kThreadColumns; ++j)
        sum[i][j] += row[i / 4].value[i % 4] * column[j / 4].value[j % 4];
  }
}

/// Writes this thread's part of the tile: to C, or to this split's partial result, (rows, columns) floats.
template <class Tile, class Output>
__device__ inline void write_tile(const Output& output, const ProductShape& shape, float* partials,
                                  const float (&sum)[Tile::kThreadRows][Tile::kThreadColumns]) {
  const int first_row = static_cast<int>(blockIdx.x) * Tile::kRows;
  const int first_column = static_cast<int>(blockIdx.y) * Tile::kColumns;
  const int down = static_cast<int>(threadIdx.x) / Tile::kThreadsAcross;
  const int across = static_cast<int>(threadIdx.x) % Tile::kThreadsAcross;
  const bool fours = shape.columns % 4 == 0 && output.place.column_stride == 1;
#pragma unroll
  for (int i = 0; i < Tile::kThreadRows; ++i) {
    const int row = first_row + (i / 4 * Tile::kThreadsDown + down) * 4 + i % 4;
    if (row >= shape.rows) continue;
#pragma unroll
    for (int j = 0; j < Tile::kThreadColumns; j += 4) {
      const int column = first_column + (j / 4 * Tile::kThreadsAcross + across) * 4;
      if (partials == nullptr && fours) {
        if (column < shape.columns) output.write_four(row, column, &sum[i][j]);
        continue;
      }
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        if (column + k >= shape.columns) continue;
        if (partials == nullptr)
          output.write(row, column + k, sum[i][j + k]);
        else
          partials[std::int64_t{row} * shape.columns + column + k] = sum[i][j + k];
      }
    }
  }
}

/// Grid: (tiles of rows, tiles of columns, splits of the depth).
template <class Tile, int kVector, class A, class B, class Output>
__global__ void __launch_bounds__(Tile::kThreads)
    product_kernel(const A a, const B b, const Output output, const ProductShape shape, float* partials) {
  using LoaderA = SliceLoader<Tile, A, Tile::kRows, kVector>;
  using LoaderB = SliceLoader<Tile, B, Tile::kColumns, kVector>;
  ZEROTH_SHARED(__align__(16) float, slices_a, [2][Tile::kDepth][LoaderA::kStride]);
  ZEROTH_SHARED(__align__(16) float, slices_b, [2][Tile::kDepth][LoaderB::kStride]);
  LoaderA loader_a(a, static_cast<int>(blockIdx.x) * Tile::kRows);
  LoaderB loader_b(b, static_cast<int>(blockIdx.y) * Tile::kColumns);
  float sum[Tile::kThreadRows][Tile::kThreadColumns] = {};

  const int split = static_cast<int>(blockIdx.z);
  const int begin = split * shape.depth_per_split;
  const int end = min(shape.depth, begin + shape.depth_per_split);
  if (begin < end) {
    loader_a.fetch(begin);
    loader_b.fetch(begin);
  }
  for (int depth = begin, turn = 0; depth < end; depth += Tile::kDepth, turn ^= 1) {
    loader_a.store(slices_a[turn]);
    loader_b.store(slices_b[turn]);
    __syncthreads();
    if (depth + Tile::kDepth < end) {
      loader_a.fetch(depth + Tile::kDepth);
      loader_b.fetch(depth + Tile::kDepth);
    }
    multiply_slices<Tile, LoaderA::kStride, LoaderB::kStride>(slices_a[turn], slices_b[turn], sum);
  }
  if (partials != nullptr) partials += std::int64_t{split} * shape.rows * shape.columns;
  write_tile<Tile>(output, shape, partials, sum);
}

inline constexpr int kFinishGroups = 8;

/// C = the sum of the partial results. A warp takes 32 neighbouring elements of every eighth split, so that
/// loads are coalesced and many are in flight; then the eight warps' sums are added in order.
template <class Output>
__global__ void __launch_bounds__(kWarpSize* kFinishGroups)
    finish_product_kernel(const Output output, const ProductShape shape, const float* partials) {
  ZEROTH_SHARED(float, sums, [kFinishGroups][kWarpSize]);
  const int lane = static_cast<int>(threadIdx.x), group = static_cast<int>(threadIdx.y);
  const std::int64_t elements = std::int64_t{shape.rows} * shape.columns;
  for (std::int64_t first = std::int64_t{blockIdx.x} * kWarpSize; first < elements;
       first += std::int64_t{gridDim.x} * kWarpSize) {
    const std::int64_t element = first + lane;
    float sum = 0.0f;
    if (element < elements)
      for (int split = group; split < shape.splits; split += kFinishGroups)
        sum += partials[split * elements + element];
    sums[group][lane] = sum;
    __syncthreads();
    if (group == 0 && element < elements) {
      for (int other = 1; other < kFinishGroups; ++other) sum += sums[other][lane];
      const auto row = static_cast<int>(element / shape.columns);
      output.write(row, static_cast<int>(element - std::int64_t{row} * shape.columns), sum);
    }
    __syncthreads();
  }
}

/// C = A B. The workspace holds shape.workspace() bytes.
template <class Tile, int kVector, class A, class B, class Output>
void launch_product(Context& context, const A& a, const B& b, const Output& output, const ProductShape& shape,
                    Workspace workspace) {
  if (shape.rows == 0 || shape.columns == 0) return;
  const dim3 grid(static_cast<unsigned>((shape.rows + Tile::kRows - 1) / Tile::kRows),
                  static_cast<unsigned>((shape.columns + Tile::kColumns - 1) / Tile::kColumns),
                  static_cast<unsigned>(shape.splits));
  float* partials = shape.splits > 1 ? static_cast<float*>(workspace.data) : nullptr;
  launch(product_kernel<Tile, kVector, A, B, Output>, grid, dim3(Tile::kThreads), 0, context.stream(), a, b,
         output, shape, partials);
  if (partials == nullptr) return;
  launch(finish_product_kernel<Output>, dim3(blocks_for(shape.elements(), kWarpSize)),
         dim3(kWarpSize, kFinishGroups), 0, context.stream(), output, shape, partials);
}

}  // namespace zeroth::ZEROTH_NATIVE
