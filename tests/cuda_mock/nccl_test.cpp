#include <dlfcn.h>

#include "engine/parallel/nccl_communicator.h"
#include "kernels/core/device_resources.h"
#include "tests/cuda_mock/fixture.h"
#include "tests/cuda_mock/toy_nccl.h"

using namespace zeroth;
using namespace std::chrono_literals;

namespace {

ToyNccl& toy() {
  static ToyNccl* const found = [] {
    void* const library = ::dlopen("libnccl.so.2", RTLD_NOW);
    REQUIRE(library != nullptr);
    return reinterpret_cast<ToyNccl* (*)()>(::dlsym(library, "toy_nccl"))();
  }();
  return *found;
}

/// One rank with a mock GPU; the toy begins anew.
struct OneRank {
  Rendezvous rendezvous;
  Context context;

  OneRank() : rendezvous(config()), context(start()) {}
  ~OneRank() { rendezvous.leave(); }

  static RendezvousConfig config() {
    RendezvousConfig config;
    config.listener = listen_on(0).release();
    config.limits.join = 300ms;
    return config;
  }
  static Device start() {
    cuda_mock::start();
    toy().copy = cudaMemcpyAsync;
    toy().polls_until_ready = 0;
    toy().error = ncclSuccess;
    toy().finalized = toy().destroyed = toy().aborted = 0;
    toy().blocking = -1;
    return kCuda;
  }
  TensorView values(std::initializer_list<std::int32_t> numbers) {
    void* const data = context.allocator().allocate(256);
    const std::vector<std::int32_t> all(numbers);
    upload(context, data, all);
    return {data, {static_cast<std::int64_t>(all.size())}, DType::i32};
  }
  std::vector<std::int32_t> read(TensorView view) {
    return values_at(context, view.data, static_cast<std::size_t>(view.elements()));
  }
};

}  // namespace

TEST_CASE("NCCL's collectives run after what the stream was given before, and join makes it wait", "[nccl]") {
  OneRank one;
  toy().polls_until_ready = 3;
  {
    const auto ranks = make_nccl_communicator(one.rendezvous, one.context);
    CHECK(toy().blocking == 0);
    CHECK(ranks->why_no_capture() == "");
    const TensorView a = one.values({1, 2, 3}), b = one.values({0, 0, 0}), c = one.values({0, 0, 0});
    ranks->all_reduce(one.context, a, RankReduction::sum);
    ranks->reduce_scatter(one.context, a, b, RankReduction::max);
    ranks->all_gather(one.context, b, c);
    ranks->broadcast(one.context, c, 0);
    ranks->join(one.context);
    one.context.memory().fill_zero(a.data, 4, one.context.stream());  // after the collectives
    CHECK(one.read(c) == std::vector<std::int32_t>{1, 2, 3});
    CHECK(one.read(a) == std::vector<std::int32_t>{0, 2, 3});
    CHECK(ranks->traffic().collectives == 4);
    CHECK(ranks->traffic().bytes == 0);
    CHECK_THROWS_AS(ranks->all_gather(one.context, a, one.values({1, 2})), Error);
    CHECK_THROWS_AS(ranks->broadcast(one.context, a, 1), Error);
  }
  CHECK(toy().finalized == 1);
  CHECK(toy().destroyed == 1);
  CHECK(toy().aborted == 0);
}

TEST_CASE("NCCL's collectives are captured with the step, and run when it is launched", "[nccl]") {
  OneRank one;
  const auto ranks = make_nccl_communicator(one.rendezvous, one.context);
  const TensorView a = one.values({5}), b = one.values({0});
  one.context.synchronize();
  const CapturedGraph graph(one.context.memory(), one.context.stream(), [&] {
    for (int step = 0; step < 2; ++step) {
      ranks->all_gather(one.context, a, b);
      ranks->join(one.context);
    }
    ranks->join(one.context);  // nothing is under way
  });
  CHECK(one.read(b)[0] == 0);
  for (const std::int32_t value : {5, 6}) {
    upload(one.context, a.data, {value});
    graph.launch(one.context.stream());
    CHECK(one.read(b)[0] == value);
  }
}

TEST_CASE("an error in the background aborts NCCL's communicator and is named", "[nccl]") {
  OneRank one;
  const auto ranks = make_nccl_communicator(one.rendezvous, one.context);
  const TensorView a = one.values({1});
  ranks->all_reduce(one.context, a, RankReduction::sum);
  toy().error = ncclRemoteError;
  for (int i = 0; i < 100 && toy().aborted == 0; ++i) std::this_thread::sleep_for(20ms);
  CHECK(toy().aborted == 1);
  const auto [kind, message] = failure_of([&] { ranks->join(one.context); });
  CHECK(kind == ErrorKind::peer);
  CHECK(message == "NCCL on rank 0 on " + host_name() + ": remote process exited");
  CHECK_THROWS_AS(ranks->all_reduce(one.context, a, RankReduction::sum), Error);
}

TEST_CASE("ranks that NCCL never finds are waited for as long as ranks that join", "[nccl]") {
  OneRank one;
  toy().polls_until_ready = -1;
  const auto [kind, message] = failure_of([&] { make_nccl_communicator(one.rendezvous, one.context); });
  CHECK(kind == ErrorKind::peer);
  CHECK_THAT(message, ContainsSubstring("ncclCommInitRankConfig did not end in time"));
  CHECK(toy().aborted == 1);
}
