#pragma once

// Convolution of pictures in shared memory by tensor cores: windows of 3 x 3, stride 1, padding 1, as many
// channels in as out (16, 32 or 64), bf16 or f16 storage, sums in f32. docs/kernels/conv2d.md has the
// figures.
//
// A block keeps the filters of all nine taps in shared memory and goes from tile to tile: a band of rows of
// one picture, or some small pictures side by side. A tile lies in shared memory with a border of one pixel,
// zeros where the picture ends, so that a tap is an offset; pixels are 16 bytes further apart than their
// channels need, so that eight neighbours meet all banks. The next tile arrives while this one is computed.
// A warp computes 16 columns of kRows rows. The columns of a tile's pictures are numbered through and cut in
// sixteens, so that no width wastes more than the last strip. For each shift to the side it holds the kRows +
// 2 rows of pixels in registers, and each of them serves three taps: the rows of the filter above each other.

#include <algorithm>
#include <cstdint>

#include "kernels/core/async_copy.cuh"
#include "kernels/core/block.cuh"
#include "kernels/core/mma.cuh"

namespace zeroth::ZEROTH_NATIVE {

/// How the work on pictures of `kChannelsOf` channels is shared out.
template <int kChannelsOf>
struct PictureTile {
  static constexpr int kChannels = kChannelsOf;
  static constexpr int kThreads = 128, kWarps = kThreads / kWarpSize;
  static constexpr int kRows = 4, kStrip = 16;                      // rows and columns of a warp's pixels
  static constexpr int kFilters = kChannels < 32 ? kChannels : 32;  // output channels of a warp
  static constexpr int kFilterGroups = kChannels / kFilters;
  static constexpr int kPixels =
      kRows * kStrip * kWarps / kFilterGroups;             // of a tile: one round of the warps
  static constexpr int kBuffers = kChannels < 64 ? 2 : 1;  // with 64, a second block does what a buffer would
  static constexpr int kBlocksPerSm = kChannels == 16 ? 4 : (kChannels == 32 ? 3 : 2);
  static constexpr int kMostBlocks = 132 * kBlocksPerSm;  // an H200 has 132 SMs
  static constexpr int kPixelBytes = 2 * kChannels + 16;  // in shared memory
  static constexpr int kFilterBytes = 9 * 2 * kChannels + 16;
  static constexpr int kChunks = kChannels / 8;  // 16-byte chunks of a pixel
  static constexpr int kMostTileBytes = 32 << 10;
};

/// A batch of pictures cut into tiles.
struct PictureTiling {
  int n, h, w;
  int pictures;  // of a tile
  int band;      // rows of a tile, a multiple of kRows: the last ones may lie below the picture
  int bands;     // tiles of a picture
  int tiles;
  int strips;  // of a tile's columns

  ZEROTH_HD int padded_width() const { return w + 2; }
  ZEROTH_HD int padded_rows() const { return pictures * (band + 2); }
};

template <class Tile>
std::int64_t tile_bytes(std::int64_t pictures, std::int64_t band, std::int64_t width) {
  return pictures * (band + 2) * (width + 2) * Tile::kPixelBytes;
}

/// Whether pictures of this width can be cut into tiles.
template <class Tile>
bool fits_tile(std::int64_t width) {
  return tile_bytes<Tile>(1, Tile::kRows, width) <= Tile::kMostTileBytes;
}

/// Tiles for n > 0 pictures that fit: of about kPixels pixels.
template <class Tile>
PictureTiling tile_pictures(std::int64_t n, std::int64_t h, std::int64_t w) {
  const auto pieces = [](std::int64_t whole, std::int64_t part) { return (whole + part - 1) / part; };
  std::int64_t pictures = 1, band = pieces(h, Tile::kRows) * Tile::kRows;
  while (band > Tile::kRows &&
         (band * w > Tile::kPixels || tile_bytes<Tile>(1, band, w) > Tile::kMostTileBytes))
    band -= Tile::kRows;
  if (band >= h)
    pictures = std::max<std::int64_t>(
        1, std::min({n, Tile::kPixels / (band * w), Tile::kMostTileBytes / tile_bytes<Tile>(1, band, w)}));
  const std::int64_t bands = pieces(h, band);
  return {static_cast<int>(n),
          static_cast<int>(h),
          static_cast<int>(w),
          static_cast<int>(pictures),
          static_cast<int>(band),
          static_cast<int>(bands),
          static_cast<int>(pieces(n, pictures) * bands),
          static_cast<int>(pieces(pictures * w, Tile::kStrip))};
}

/// Dynamic shared memory of a block.
template <class Tile>
std::size_t shared_bytes(const PictureTiling& tiling) {
  return static_cast<std::size_t>(Tile::kChannels * Tile::kFilterBytes +
                                  Tile::kBuffers * tile_bytes<Tile>(tiling.pictures, tiling.band, tiling.w));
}

/// Words in the four lanes of a quad as a matrix, lane by word: transposes it.
__device__ inline void transpose_quad(std::uint32_t (&word)[4]) {
  const bool odd = threadIdx.x % 2 != 0, upper = threadIdx.x % 4 >= 2;
#pragma unroll
  for (int i = 0; i < 4; i += 2) {
    const std::uint32_t got = __shfl_xor_sync(0xffffffffu, odd ? word[i] : word[i + 1], 1);
    (odd ? word[i] : word[i + 1]) = got;
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const std::uint32_t got = __shfl_xor_sync(0xffffffffu, upper ? word[i] : word[i + 2], 2);
    (upper ? word[i] : word[i + 2]) = got;
  }
}

template <class T>
__device__ inline std::uint32_t pack_two(float low, float high) {
  return from_compute<T>(low).bits | static_cast<std::uint32_t>(from_compute<T>(high).bits) << 16;
}
template <class T>
__device__ inline float unpack(std::uint32_t word, int half) {
  return to_compute(T{static_cast<std::uint16_t>(word >> (16 * half))});
}

/// Starts the copies of the filters, and clears the borders to the left and right of every buffer's pictures,
/// which no tile writes.
template <class Tile, class T>
__device__ inline void prepare_shared(AsyncCopies& copies, const T* w, const PictureTiling& tiling,
                                      unsigned char* filters, unsigned char* pictures) {
  constexpr int kFilterChunks = 9 * Tile::kChunks;
  for (int i = static_cast<int>(threadIdx.x); i < Tile::kChannels * kFilterChunks; i += Tile::kThreads)
    copies.copy_16(filters + i / kFilterChunks * Tile::kFilterBytes + i % kFilterChunks * 16, w + i * 8,
                   true);
  const int borders = Tile::kBuffers * tiling.padded_rows() * 2 * Tile::kChunks;
  for (int i = static_cast<int>(threadIdx.x); i < borders; i += Tile::kThreads) {
    const int side = i / Tile::kChunks % 2, row = i / (2 * Tile::kChunks);
    const int pixel = row * tiling.padded_width() + side * (tiling.w + 1);
    store_pack(
        reinterpret_cast<std::uint32_t*>(pictures + pixel * Tile::kPixelBytes + i % Tile::kChunks * 16),
        Pack<std::uint32_t, 4>{});
  }
}

/// Starts the copies of a tile: a warp takes whole rows. Rows outside the pictures become zeros.
template <class Tile, class T>
__device__ inline void fetch_tile(AsyncCopies& copies, const T* x, const PictureTiling& tiling, int tile,
                                  unsigned char* buffer) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int first_picture = tile / tiling.bands * tiling.pictures;
  const int first_row = tile % tiling.bands * tiling.band - 1;
  for (int row = static_cast<int>(threadIdx.x) / kWarpSize; row < tiling.padded_rows(); row += Tile::kWarps) {
    const int picture = first_picture + row / (tiling.band + 2), i = first_row + row % (tiling.band + 2);
    const bool inside = picture < tiling.n && i >= 0 && i < tiling.h;
    const T* from = inside ? x + (std::int64_t{picture} * tiling.h + i) * tiling.w * Tile::kChannels : x;
    unsigned char* to = buffer + (row * tiling.padded_width() + 1) * Tile::kPixelBytes;
    for (int chunk = lane; chunk < tiling.w * Tile::kChunks; chunk += kWarpSize)
      copies.copy_16(to + chunk / Tile::kChunks * Tile::kPixelBytes + chunk % Tile::kChunks * 16,
                     inside ? from + chunk * 8 : x, inside);
  }
}

/// What one warp computes at once: kRows rows of 16 columns, kFilters output channels. sum[row][t] is the
/// fragment of channels 8 t to 8 t + 7.
template <class Tile, class T, bool kTurned>
struct PictureProduct {
  static constexpr int kFragments = Tile::kFilters / 8;
  static constexpr int kStores = kFragments / 2;  // of 16 bytes, for each row of pixels and each lane

  FragmentC sum[Tile::kRows][kFragments] = {};

  /// Adds all taps. `pixels` is the lane's address in the row above the first output row, one column to the
  /// left: pixel lane % 16, channel lane / 16 * 8. `filters` are all filters, `first` the first one of this
  /// warp. Turned, they are those of the gradient: y's channels are the filters' own, and the taps run
  /// backwards.
  __device__ void add_taps(const unsigned char* pixels, int row_bytes, const unsigned char* filters,
                           int first) {
    const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
    // Four 8 x 8 matrices: 16 output channels by 16 input channels.
    const unsigned char* filter =
        kTurned ? filters + lane % 16 * Tile::kFilterBytes + (first + lane / 16 * 8) * 2
                : filters + (first + lane / 16 * 8 + lane % 8) * Tile::kFilterBytes + lane / 8 % 2 * 16;
#pragma unroll
    for (int s = 0; s < 3; ++s)
#pragma unroll
      for (int step = 0; step < Tile::kChannels / 16; ++step) {
        FragmentA a[Tile::kRows + 2];
#pragma unroll
        for (int i = 0; i < Tile::kRows + 2; ++i)
          load_matrices_x4(a[i].reg, pixels + i * row_bytes + s * Tile::kPixelBytes + step * 32);
#pragma unroll
        for (int r = 0; r < 3; ++r) {
          const int tap = kTurned ? 8 - (r * 3 + s) : r * 3 + s;
#pragma unroll
          for (int t = 0; t < kFragments; t += 2) {
            std::uint32_t reg[4];
            if constexpr (kTurned)
              load_matrices_x4<true>(
                  reg, filter + step * 16 * Tile::kFilterBytes + (tap * Tile::kChannels + t * 8) * 2);
            else
              load_matrices_x4(reg,
                               filter + t * 8 * Tile::kFilterBytes + (tap * Tile::kChannels + step * 16) * 2);
            const FragmentB low{{reg[0], reg[1]}}, high{{reg[2], reg[3]}};
#pragma unroll
            for (int i = 0; i < Tile::kRows; ++i) {
              mma_m16n8k16<T>(sum[i][t], a[i + r], low);
              mma_m16n8k16<T>(sum[i][t + 1], a[i + r], high);
            }
          }
        }
      }
  }

  /// Fragment words of one store: word j of lane q goes to lane j of its quad as word q, so that each lane
  /// gets eight neighbouring channels of one pixel.
  static __device__ int half_of(int store, int word) {
    return kStores == 1 ? word / 2 : store;
  }
  static __device__ int fragment_of(int, int word) {
    return kStores == 1 ? word % 2 : word;
  }

  /// Writes `rows` rows. place[half] is the address of this lane's pixel number lane / 4 + 8 * half in the
  /// first one, channel 0 of the warp's, or null outside; the next row lies row_stride elements further. The
  /// sums become what is stored.
  __device__ void write(T* const (&place)[2], std::int64_t row_stride, int rows, bool accumulate) {
    static_assert(kStores == 1 || kFragments == 4);
    const int quad_lane = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
    for (int store = 0; store < kStores; ++store) {
      T* to = half_of(store, quad_lane) == 0 ? place[0] : place[1];
      if (to != nullptr) to += fragment_of(store, quad_lane) * 8;
#pragma unroll
      for (int i = 0; i < Tile::kRows; ++i) {
        const bool inside = to != nullptr && i < rows;
        T* at = to + i * row_stride;
        Pack<std::uint32_t, 4> pack{};
        if (accumulate) {
          if (inside) pack = load_pack<4>(reinterpret_cast<const std::uint32_t*>(at));
          transpose_quad(pack.value);
        }
#pragma unroll
        for (int word = 0; word < 4; ++word) {
          float* value = &sum[i][fragment_of(store, word)].value[2 * half_of(store, word)];
          if (accumulate)
            for (int e = 0; e < 2; ++e) value[e] += unpack<T>(pack.value[word], e);
          pack.value[word] = pack_two<T>(value[0], value[1]);
          for (int e = 0; e < 2; ++e) value[e] = unpack<T>(pack.value[word], e);
        }
        transpose_quad(pack.value);
        if (inside) store_pack(reinterpret_cast<std::uint32_t*>(at), pack);
      }
    }
  }
};

/// For a convolution alone: nothing is done with what was written.
struct NoStatistics {
  template <class Product>
  __device__ void add(const Product&, bool, bool, int) {}
  __device__ void finish(unsigned char*) {}
};

/// y (=|+=) the convolution of x with the filters w, or, turned, the gradient of a convolution's input, whose
/// output has the gradient x. `statistics` sees every element of y that this block writes. Dynamic shared
/// memory: shared_bytes().
template <class Tile, class T, bool kTurned, class Statistics>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocksPerSm)
    picture_product_kernel(const T* x, const T* w, T* y, PictureTiling tiling, bool accumulate,
                           Statistics statistics) {
  auto* filters = dynamic_shared<unsigned char>();
  unsigned char* pictures = filters + Tile::kChannels * Tile::kFilterBytes;
  const int row_bytes = tiling.padded_width() * Tile::kPixelBytes;
  const int buffer_bytes = Tile::kBuffers > 1 ? tiling.padded_rows() * row_bytes : 0;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize,
            warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int first_filter = warp % Tile::kFilterGroups * Tile::kFilters;
  const int columns = tiling.pictures * tiling.w;

  AsyncCopies copies;
  prepare_shared<Tile>(copies, w, tiling, filters, pictures);
  int tile = static_cast<int>(blockIdx.x), turn = 0;
  if (tile < tiling.tiles) fetch_tile<Tile>(copies, x, tiling, tile, pictures);
  copies.commit();
  for (int next; tile < tiling.tiles; tile = next) {
    next = tile + static_cast<int>(gridDim.x);
    if constexpr (Tile::kBuffers > 1) {
      if (next < tiling.tiles)
        fetch_tile<Tile>(copies, x, tiling, next, pictures + (turn ^ 1) * buffer_bytes);
      copies.commit();
    }
    copies.wait<Tile::kBuffers - 1>();
    __syncthreads();
    const unsigned char* picture_rows = pictures + turn * buffer_bytes;
    for (int part = warp / Tile::kFilterGroups; part < tiling.strips * (tiling.band / Tile::kRows);
         part += Tile::kWarps / Tile::kFilterGroups) {
      const int first_column = part % tiling.strips * Tile::kStrip, row = part / tiling.strips * Tile::kRows;
      const int mine = min(first_column + lane % 16, columns - 1);
      const int pixel = (mine / tiling.w * (tiling.band + 2) + row) * tiling.padded_width() + mine % tiling.w;
      PictureProduct<Tile, T, kTurned> product;
      product.add_taps(picture_rows + pixel * Tile::kPixelBytes + lane / 16 * 16, row_bytes, filters,
                       first_filter);
      const int i = tile % tiling.bands * tiling.band + row;
      T* place[2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int column = first_column + lane / 4 + 8 * half;
        const int picture = tile / tiling.bands * tiling.pictures + column / tiling.w;
        const std::int64_t at = (std::int64_t{picture} * tiling.h + i) * tiling.w + column % tiling.w;
        place[half] =
            column < columns && picture < tiling.n ? y + at * Tile::kChannels + first_filter : nullptr;
      }
      const int rows = max(0, min(Tile::kRows, tiling.h - i));
      product.write(place, std::int64_t{tiling.w} * Tile::kChannels, rows, accumulate);
      statistics.add(product, place[0] != nullptr, place[1] != nullptr, rows);
    }
    __syncthreads();
    if constexpr (Tile::kBuffers > 1) {
      turn ^= 1;
    } else {
      if (next < tiling.tiles) fetch_tile<Tile>(copies, x, tiling, next, pictures);
      copies.commit();
    }
  }
  statistics.finish(filters);
}

/// Blocks for a tiling: as many as an H200 runs at once, each with about as many tiles as the others.
template <class Tile>
unsigned blocks_of(const PictureTiling& tiling) {
  const int rounds = (tiling.tiles + Tile::kMostBlocks - 1) / Tile::kMostBlocks;
  return static_cast<unsigned>((tiling.tiles + rounds - 1) / rounds);
}

/// Calls fn with the PictureTile for this number of channels.
template <class Fn>
void with_picture_tile(std::int64_t channels, Fn&& fn) {
  if (channels == 16) fn(PictureTile<16>{});
  if (channels == 32) fn(PictureTile<32>{});
  if (channels == 64) fn(PictureTile<64>{});
}

}  // namespace zeroth::ZEROTH_NATIVE
