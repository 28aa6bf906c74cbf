// Convolution by tensor cores that leaves the moments of its result behind, for the same windows and channels
// as kernels/conv2d/mma.cu, without a prologue. Bytes moved: x once and y once, as by the convolution alone;
// the batch norm behind it need not read y for its moments. The trick is where the moments are summed: from
// the accumulators, rounded as they are stored, while they are still in registers. piece_statistics.cuh says
// in which order.

#include "kernels/conv2d_stats/conv2d_stats.h"
#include "kernels/conv2d_stats/piece_statistics.cuh"
#include "kernels/core/workspace_cutter.h"

namespace zeroth::ZEROTH_NATIVE {

namespace {

bool supports(const Conv2dStatsParams& params) {
  return params.prologue == Prologue::none && conv2d_mma_row.supports(params, Conv2dPass::forward);
}

std::size_t workspace(Context&, const Conv2dStatsParams& a) {
  std::size_t bytes = 0;
  with_picture_tile(a.c, [&]<class Tile>(Tile) {
    const std::size_t blocks = blocks_of<Tile>(tile_pictures<Tile>(a.n, a.h, a.w));
    bytes = blocks * (2 * Tile::kChannels + 1) * sizeof(float);
  });
  return bytes;
}

template <class T>
void run(Context& context, const Conv2dStatsParams& a, const Conv2dStatsOperands& o, Workspace scratch) {
  with_picture_tile(a.c, [&]<class Tile>(Tile) {
    const PictureTiling tiling = tile_pictures<Tile>(a.n, a.h, a.w);
    const unsigned blocks = blocks_of<Tile>(tiling);
    auto* moments = static_cast<float*>(scratch.data);
    const StatisticsPieces pieces{moments, moments + std::size_t{blocks} * 2 * Tile::kChannels};
    launch(picture_product_kernel<Tile, T, false, PieceStatistics<Tile>>, dim3(blocks), dim3(Tile::kThreads),
           shared_bytes<Tile>(tiling), context.stream(), o.x.as<T>(), o.w.as<T>(), o.y.as<T>(), tiling, false,
           PieceStatistics<Tile>(pieces));
    launch(finish_statistics_kernel, dim3(Tile::kChannels / kFinishChannels), dim3(kChannelThreads), 0,
           context.stream(), pieces, static_cast<int>(blocks), Tile::kChannels,
           static_cast<double>(a.n * a.h * a.w), o.mean.as<float>(), o.variance.as<float>());
  });
}

void forward(Context& context, const Conv2dStatsParams& a, const Conv2dStatsOperands& o, Workspace scratch) {
  if (a.dtype == DType::bf16)
    run<bf16>(context, a, o, scratch);
  else
    run<f16>(context, a, o, scratch);
}

}  // namespace

const Conv2dStatsRow conv2d_stats_row{{"mma", kNativeDevice, true}, supports, workspace, forward};

}  // namespace zeroth::ZEROTH_NATIVE
