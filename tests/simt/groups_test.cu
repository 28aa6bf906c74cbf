#include <vector>

#include "kernels/core/cooperative_groups.cuh"
#include "tests/catch.h"

namespace zeroth::ZEROTH_NATIVE {

namespace cg = cooperative_groups;

namespace {

__global__ void block_kernel(unsigned* out) {
  ZEROTH_SHARED(unsigned, tile, [64]);
  const cg::thread_block block = cg::this_thread_block();
  tile[block.thread_rank()] = block.thread_rank() + block.group_index().x * 100;
  block.sync();
  out[cg::this_grid().thread_rank()] = tile[block.size() - 1 - block.thread_rank()];
  cg::sync(block);
}

template <unsigned kSize>
__global__ void tile_kernel(int* out) {
  const auto tile = cg::tiled_partition<kSize>(cg::this_thread_block());
  const int rank = static_cast<int>(tile.thread_rank()), group = static_cast<int>(tile.meta_group_rank());
  int* row = out + threadIdx.x * 6;
  row[0] = cg::reduce(tile, rank + group, cg::plus<int>());
  row[1] = tile.shfl(rank * 10, 0) + tile.shfl_down(rank, 1);
  row[2] = tile.shfl_up(rank, 1);
  row[3] = static_cast<int>(tile.ballot(rank % 2 == 0));
  row[4] = tile.any(rank == 0) * 2 + tile.all(rank == 0);
  tile.sync();
  row[5] = cg::reduce(tile, rank, cg::greater<int>());
}

}  // namespace

TEST_CASE("thread blocks as cooperative groups") {
  simt::run_in_every_order([](simt::OrderSetting) {
    std::vector<unsigned> out(3 * 64);
    launch(block_kernel, dim3(3), dim3(16, 4), 0, Stream{}, out.data());
    for (unsigned i = 0; i < out.size(); ++i) REQUIRE(out[i] == i / 64 * 100 + 63 - i % 64);
  });
}

TEMPLATE_TEST_CASE_SIG("tiles reduce, shuffle and vote among themselves", "", ((unsigned kSize), kSize), 1, 2,
                       4, 8, 16, 32) {
  simt::run_in_every_order([](simt::OrderSetting) {
    std::vector<int> out(64 * 6);
    launch(tile_kernel<kSize>, dim3(1), dim3(64), 0, Stream{}, out.data());
    constexpr int kThreads = static_cast<int>(kSize);
    for (int thread = 0; thread < 64; ++thread) {
      const int rank = thread % kThreads, group = thread / kThreads;
      const int* row = &out[static_cast<std::size_t>(thread) * 6];
      REQUIRE(row[0] == kThreads * (kThreads - 1) / 2 + kThreads * group);
      REQUIRE(row[1] == (rank + 1 < kThreads ? rank + 1 : rank));
      REQUIRE(row[2] == (rank > 0 ? rank - 1 : 0));
      REQUIRE(static_cast<unsigned>(row[3]) == (0x55555555u & (0xffffffffu >> (32 - kSize))));
      REQUIRE(row[4] == 2 + (kThreads == 1));
      REQUIRE(row[5] == kThreads - 1);
    }
  });
}

}  // namespace zeroth::ZEROTH_NATIVE
