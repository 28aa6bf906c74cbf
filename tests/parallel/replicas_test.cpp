// Ranks in one process: their collectives against plain sums in rank order, and what ends them.

#include "engine/parallel/replicas.h"

#include <atomic>
#include <mutex>

#include "engine/tensor.h"
#include "tests/catch.h"

using namespace zeroth;

namespace {

/// What rank r holds at i: numbers whose sum depends on the order.
float number(int rank, std::int64_t i) {
  const float large = rank % 2 == 0 ? 3e7f : -3e7f;
  return (rank < 2 ? large : 1.25f) + static_cast<float>(i % 7) * 0.3f;
}

std::vector<float> filled(int rank, std::int64_t n) {
  std::vector<float> values(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) values[static_cast<std::size_t>(i)] = number(rank, i);
  return values;
}

float sum_in_order(int ranks, std::int64_t i) {
  float sum = number(0, i);
  for (int rank = 1; rank < ranks; ++rank) sum += number(rank, i);
  return sum;
}

}  // namespace

TEST_CASE("replicas' collectives combine in rank order and count a ring's bytes", "[parallel][replicas]") {
  for (const DeviceKind device : {DeviceKind::cpu, DeviceKind::simt})
    for (const int ranks : {1, 2, 3, 4}) {
      INFO(name_of(device) << ", " << ranks << " ranks");
      constexpr std::int64_t kPart = 25;
      const std::int64_t n = kPart * ranks;
      std::atomic<int> wrong = 0;
      std::vector<Traffic> traffic(static_cast<std::size_t>(ranks));
      run_replicas(ranks, [&](Communicator& ranked) {
        Context context({device, 0});
        const int rank = ranked.rank();
        const Tensor all = Tensor::from_host<float>(context, {n}, filled(rank, n));
        const Tensor parts = Tensor::from_host<float>(context, {n}, filled(rank, n));
        const Tensor own = Tensor::zeros(context, {kPart}, DType::f32);
        const Tensor gathered = Tensor::zeros(context, {n}, DType::f32);
        const Tensor most = Tensor::from_host<std::int32_t>(context, {1}, std::vector<std::int32_t>{rank});
        const Tensor from_last = Tensor::from_host<float>(context, {n}, filled(rank, n));
        ranked.all_reduce(context, all, RankReduction::sum);
        ranked.reduce_scatter(context, parts, own, RankReduction::sum);
        ranked.all_gather(context, own, gathered);
        ranked.all_reduce(context, most, RankReduction::max);
        ranked.broadcast(context, from_last, ranks - 1);
        ranked.join(context);
        const auto sums = all.to_host<float>(context), again = gathered.to_host<float>(context),
                   last = from_last.to_host<float>(context);
        for (std::int64_t i = 0; i < n; ++i) {
          const auto at = static_cast<std::size_t>(i);
          wrong += sums[at] != sum_in_order(ranks, i);
          wrong += again[at] != sum_in_order(ranks, i);
          wrong += last[at] != number(ranks - 1, i);
        }
        wrong += most.to_host<std::int32_t>(context)[0] != ranks - 1;
        traffic[static_cast<std::size_t>(rank)] = ranked.traffic();
      });
      CHECK(wrong == 0);
      const std::int64_t bytes = n * 4, of_ring = bytes * (ranks - 1) / ranks;
      for (int rank = 0; rank < ranks; ++rank) {
        CHECK(traffic[static_cast<std::size_t>(rank)].collectives == 5);
        const std::int64_t broadcast = rank == (ranks + ranks - 2) % ranks ? 0 : bytes;
        CHECK(traffic[static_cast<std::size_t>(rank)].bytes ==
              2 * of_ring + of_ring + of_ring + 2 * (4 * (ranks - 1) / ranks) + broadcast);
      }
    }
}

TEST_CASE("16-bit sums of replicas are taken in f32 and rounded once", "[parallel][replicas]") {
  run_replicas(4, [](Communicator& ranked) {
    Context context({DeviceKind::cpu, 0});
    // 256 + 1 and once more are 256 each time in bf16; in f32 the ones survive until there are three of them.
    const std::vector<bf16> one{from_compute<bf16>(ranked.rank() == 0 ? 256.0f : 1.0f)};
    const Tensor value = Tensor::from_host<bf16>(context, {1}, one);
    ranked.all_reduce(context, value, RankReduction::sum);
    ranked.join(context);
    if (to_compute(value.to_host<bf16>(context)[0]) != 260.0f) fail(ErrorKind::runtime, "not 260");
  });
}

TEST_CASE("a replica that fails ends the others, and its error is the one reported", "[parallel][replicas]") {
  std::atomic<int> told = 0;
  const auto run = [&] {
    run_replicas(3, [&](Communicator& ranked) {
      Context context({DeviceKind::cpu, 0});
      const Tensor value = Tensor::zeros(context, {4}, DType::f32);
      if (ranked.rank() == 1) fail(ErrorKind::data, "no pictures");
      try {
        ranked.all_reduce(context, value, RankReduction::sum);
        ranked.join(context);
      } catch (const Error& error) {
        told +=
            error.kind() == ErrorKind::peer && std::string(error.what()) == "replica 1 has left: no pictures";
        throw;
      }
    });
  };
  CHECK_THROWS_WITH(run(), "no pictures");
  CHECK(told == 2);
}

TEST_CASE("replicas that disagree about a collective are told", "[parallel][replicas]") {
  const auto sizes = [] {
    run_replicas(2, [](Communicator& ranked) {
      Context context({DeviceKind::cpu, 0});
      const Tensor value = Tensor::zeros(context, {4 + ranked.rank()}, DType::f32);
      ranked.all_reduce(context, value, RankReduction::sum);
      ranked.join(context);
    });
  };
  CHECK_THROWS_WITH(sizes(), "replicas meet in a collective with operands of different sizes");
  const auto waits = [] {
    run_replicas(
        2,
        [](Communicator& ranked) {
          Context context({DeviceKind::cpu, 0});
          const Tensor value = Tensor::zeros(context, {4}, DType::f32);
          if (ranked.rank() == 1) return;
          ranked.all_reduce(context, value, RankReduction::sum);
          ranked.join(context);
        },
        5.0);
  };
  CHECK_THROWS_WITH(waits(), "replica 1 has left: it is done");
}
