#include "kernels/core/context.h"

#include "tests/cuda_mock/fixture.h"

using namespace zeroth;

TEST_CASE("two contexts on two devices work in one thread", "[context]") {
  cuda_mock::start({.gpus = {{}, {}}});
  {
    Context one({DeviceKind::cuda, 0}), two({DeviceKind::cuda, 1});
    void* on_one = one.allocator().allocate(16);
    void* on_two = two.allocator().allocate(16);
    for (std::int32_t round = 0; round < 3; ++round) {  // in turns: each call has to find its own device
      one.memory().fill_zero(on_one, 16, one.stream());
      two.memory().fill_zero(on_two, 16, two.stream());
      upload(one, on_one, {round, 1});
      upload(two, on_two, {round, 2});
      CHECK(values_at(one, on_one, 3) == std::vector<std::int32_t>{round, 1, 0});
      CHECK(values_at(two, on_two, 3) == std::vector<std::int32_t>{round, 2, 0});
    }
    int current = -1;
    one.activate();
    REQUIRE(cudaGetDevice(&current) == cudaSuccess);
    CHECK(current == 0);
  }
  CHECK(cuda_mock::live() == cuda_mock::Live{});
}

TEST_CASE("a context gives everything back", "[context]") {
  cuda_mock::start();
  {
    Context context(kCuda);
    context.scratch(1000);
    context.scratch(100000);
    void* data = context.allocator().allocate(64);
    upload(context, data, {1, 2, 3});  // still on its way when the context goes
  }
  CHECK(cuda_mock::live() == cuda_mock::Live{});
}

TEST_CASE("a context goes quietly when its device has failed or the driver has gone", "[context]") {
  for (const cudaError_t error : {cudaErrorCudartUnloading, cudaErrorIllegalAddress}) {
    cuda_mock::start();
    auto context = std::make_unique<Context>(kCuda);
    Event event(context->memory(), 0);
    context->scratch(1000);
    upload(*context, context->allocator().allocate(64), {1, 2, 3});
    event.record(context->stream());
    cuda_mock::machine().broken = error;
    CHECK_THROWS_AS(context->synchronize(), Error);
    CHECK_NOTHROW(context.reset());
  }
}

TEST_CASE("a context that cannot be made leaves nothing behind", "[context]") {
  cuda_mock::start({.gpus = {{}, {.name = "old", .major = 7}}});
  CHECK(
      failure_of([] {
        Context({DeviceKind::cuda, 1});
      }) ==
      std::pair(
          ErrorKind::device,
          std::string(
              "cuda:1 has compute capability 7.x, the kernels need 8.0 or newer; train with --device cpu")));
  CHECK(failure_of([] {
          Context({DeviceKind::cuda, 2});
        }) == std::pair(ErrorKind::device, std::string("no device cuda:2: this machine has 2 CUDA devices")));
  CHECK(cuda_mock::live() == cuda_mock::Live{});
}
