#include <set>

#include "kernels/check/cases.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/mma.cuh"
#include "kernels/conv2d_stats/conv2d_stats.h"
#include "kernels/conv2d_stats/piece_statistics.cuh"
#include "tests/kernels/rows.h"

namespace zeroth::ZEROTH_NATIVE {

namespace {

using namespace zeroth::testing;

/// y, the means and the variances of a convolution of bf16 pictures with so many blocks instead of as many as
/// a GPU runs.
template <class Tile>
Values with_blocks(const Conv2dParams& a, const Operand& x, const Operand& w, unsigned blocks) {
  Context context({DeviceKind::simt, 0});
  const Operand y = Operand::unset(context, DType::bf16, a.y_shape()),
                moments = Operand::unset(context, DType::f32, {blocks, 2, a.c}),
                counts = Operand::unset(context, DType::f32, {blocks}),
                mean = Operand::unset(context, DType::f32, {a.c}),
                variance = Operand::unset(context, DType::f32, {a.c});
  const PictureTiling tiling = tile_pictures<Tile>(a.n, a.h, a.w);
  CHECK(tiling.tiles > 2 * static_cast<int>(blocks));
  const StatisticsPieces pieces{moments.view().as<float>(), counts.view().as<float>()};
  launch(picture_product_kernel<Tile, bf16, false, PieceStatistics<Tile>>, dim3(blocks), dim3(Tile::kThreads),
         shared_bytes<Tile>(tiling), context.stream(), x.view().as<bf16>(), w.view().as<bf16>(),
         y.view().as<bf16>(), tiling, false, PieceStatistics<Tile>(pieces));
  launch(finish_statistics_kernel, dim3(Tile::kChannels / kFinishChannels), dim3(kChannelThreads), 0,
         context.stream(), pieces, static_cast<int>(blocks), Tile::kChannels,
         static_cast<double>(a.n * a.h * a.w), mean.view().as<float>(), variance.view().as<float>());
  return {y.values(), mean.values(), variance.values()};
}

std::vector<double> numbers(const Shape& shape, std::uint64_t seed) {
  return random_values(shape.elements(), DType::bf16, -1.0, 1.0, seed);
}

}  // namespace

TEST_CASE("a block that goes from tile to tile computes each as it would alone", "[kernels][conv2d]") {
  // n, h, w, c, k, r, s, stride, padding
  const Conv2dParams problems[] = {{3, 22, 16, 16, 16, 3, 3, 1, 1, DType::bf16},
                                   {5, 15, 17, 32, 32, 3, 3, 1, 1, DType::bf16},
                                   {9, 8, 7, 64, 64, 3, 3, 1, 1, DType::bf16}};
  Context context({DeviceKind::simt, 0});
  context.choose_implementation("conv2d=mma");
  for (const Conv2dParams& a : problems) {
    INFO(a.to_string());
    const Operand x(context, a.dtype, a.x_shape(), numbers(a.x_shape(), 1));
    const Operand w(context, a.dtype, a.w_shape(), numbers(a.w_shape(), 2));
    const Operand y = Operand::unset(context, a.dtype, a.y_shape());
    conv2d_forward(context, a, x, w, y, {});
    Conv2dStatsParams with_moments;
    static_cast<Conv2dParams&>(with_moments) = a;
    const Operand mean = Operand::unset(context, DType::f32, {a.c}),
                  variance = Operand::unset(context, DType::f32, {a.c}),
                  again = Operand::unset(context, a.dtype, a.y_shape());
    conv2d_stats_forward(context, with_moments,
                         {.x = x, .w = w, .y = again, .mean = mean, .variance = variance},
                         context.scratch(conv2d_stats_workspace(context, with_moments)));
    with_picture_tile(a.c, [&]<class Tile>(Tile) {
      for (const unsigned blocks : {1u, 2u}) {
        INFO(blocks << " blocks");
        const Values found = with_blocks<Tile>(a, x, w, blocks);
        CHECK((found[0] == y.values()));
        for (std::size_t i = 0; i < 2; ++i)
          check_close(found[1 + i], (i == 0 ? mean : variance).values(),
                      [&](std::size_t) { return 64 * 0x1p-24 * (i == 0 ? 1.0 : std::sqrt(9.0 * 64)); });
      }
    });
  }
}

TEST_CASE("pictures are cut into tiles that fit", "[kernels][conv2d]") {
  for (const std::int64_t channels : {16, 32, 64})
    with_picture_tile(channels, [&]<class Tile>(Tile) {
      for (const std::int64_t n : {1, 3, 128})
        for (std::int64_t h = 1; h < 40; ++h)
          for (std::int64_t w = 1; fits_tile<Tile>(w); ++w) {
            CAPTURE(channels, n, h, w);
            const PictureTiling tiling = tile_pictures<Tile>(n, h, w);
            const bool whole = tiling.bands == 1;
            REQUIRE(tile_bytes<Tile>(tiling.pictures, tiling.band, w) <= Tile::kMostTileBytes);
            REQUIRE(tiling.band % Tile::kRows == 0);
            REQUIRE(tiling.pictures >= 1);
            REQUIRE((whole || tiling.pictures == 1));
            REQUIRE(tiling.band * tiling.bands >= h);
            REQUIRE(tiling.band * (tiling.bands - 1) < h);
            REQUIRE(tiling.tiles == (n + tiling.pictures - 1) / tiling.pictures * tiling.bands);
            REQUIRE(tiling.strips * Tile::kStrip >= tiling.pictures * w);
            REQUIRE(blocks_of<Tile>(tiling) <= Tile::kMostBlocks);
            REQUIRE(shared_bytes<Tile>(tiling) <= 163 << 10);  // what compute capability 8.0 has
          }
    });
}

TEST_CASE("the tensor core row of conv2d takes what it says", "[kernels][conv2d]") {
  const auto takes = [](Conv2dParams a, DType dtype, Conv2dPass pass = Conv2dPass::forward) {
    a.dtype = dtype;
    return conv2d_mma_row.supports(a, pass);
  };
  const Conv2dParams stage{128, 32, 32, 16, 16, 3, 3, 1, 1};
  for (const DType dtype : {DType::bf16, DType::f16}) {
    CHECK(takes(stage, dtype));
    CHECK(takes(stage, dtype, Conv2dPass::backward_data));
    CHECK_FALSE(takes(stage, dtype, Conv2dPass::backward_weight));
    CHECK(takes({1, 16, 16, 32, 32, 3, 3, 1, 1}, dtype));
    CHECK(takes({1, 8, 8, 64, 64, 3, 3, 1, 1}, dtype));
    CHECK(takes({1, 32, 32, 64, 64, 3, 3, 1, 1}, dtype));
    CHECK(takes({1, 7, 9, 16, 16, 3, 3, 1, 1}, dtype));
  }
  CHECK_FALSE(takes(stage, DType::f32));
  for (const Conv2dParams& other : {Conv2dParams{0, 8, 8, 16, 16, 3, 3, 1, 1},
                                    {1, 8, 8, 3, 16, 3, 3, 1, 1},
                                    {1, 8, 8, 16, 32, 3, 3, 1, 1},
                                    {1, 8, 8, 128, 128, 3, 3, 1, 1},
                                    {1, 8, 8, 16, 16, 3, 3, 2, 1},
                                    {1, 8, 8, 16, 16, 3, 3, 1, 0},
                                    {1, 8, 8, 16, 16, 1, 1, 1, 0},
                                    {1, 8, 1000, 16, 16, 3, 3, 1, 1}})
    CHECK_FALSE(takes(other, DType::bf16));
  for (const Conv2dPass pass : {Conv2dPass::forward, Conv2dPass::backward_data}) {
    std::set<std::int64_t> channels;  // of the problems that the whole table is held against
    for (const Conv2dParams& a : conv2d_problems())
      if (takes(a, DType::bf16, pass)) channels.insert(a.c);
    CHECK(channels == std::set<std::int64_t>{16, 32, 64});
  }
}

}  // namespace zeroth::ZEROTH_NATIVE
