#include "kernels/core/allocator.h"

#include "tests/cuda_mock/fixture.h"

using namespace zeroth;

TEST_CASE("blocks are cached, and given back when the allocator goes", "[allocator]") {
  cuda_mock::start();
  {
    Allocator allocator(kCuda);
    void* first = allocator.allocate(5000);
    allocator.release(first);
    CHECK(cuda_mock::live().memory == 1);
    CHECK(allocator.allocate(5000) == first);
    static_cast<void>(allocator.allocate(5000));  // still in use when the allocator goes
    CHECK(cuda_mock::live().memory == 2);
  }
  CHECK(cuda_mock::live().memory == 0);
}

TEST_CASE("a block is taken back once, and a strange pointer never", "[allocator]") {
  cuda_mock::start();
  Allocator allocator(kCuda);
  void* first = allocator.allocate(256);
  void* second = allocator.allocate(256);
  int strange = 0;
  allocator.release(&strange);
  allocator.release(static_cast<std::byte*>(first) + 1);
  CHECK(allocator.bytes_in_use() == 512);
  allocator.release(first);
  allocator.release(first);
  CHECK(allocator.bytes_in_use() == 256);
  CHECK(allocator.allocate(256) == first);
  CHECK(allocator.allocate(256) != first);  // twice in the free list, it would be handed out twice
  CHECK(allocator.bytes_in_use() == 768);
  allocator.release(second);
}

TEST_CASE("cached blocks are given back before memory is called exhausted", "[allocator]") {
  cuda_mock::start({.gpus = {{.memory = 10000}}});
  Allocator allocator(kCuda);
  for (const std::size_t bytes : {2048, 2304, 2560, 2816}) allocator.release(allocator.allocate(bytes));
  CHECK(allocator.bytes_reserved() == 9728);
  void* large = allocator.allocate(8192);
  CHECK(cuda_mock::live().memory == 1);
  CHECK(allocator.bytes_reserved() == 8192);
  CHECK(allocator.bytes_in_use() == 8192);

  const auto [kind, message] = failure_of([&] { static_cast<void>(allocator.allocate(4096)); });
  CHECK(kind == ErrorKind::runtime);
  CHECK(message == "out of memory on cuda:0: 4096 bytes were asked for, 1808 of 10000 are free");
  CHECK(allocator.bytes_in_use() == 8192);  // and the allocator serves on
  allocator.release(large);
  CHECK(allocator.allocate(8192) == large);
}

TEST_CASE("an allocation during a capture is refused in words", "[allocator]") {
  cuda_mock::start();
  Context context(kCuda);
  context.allocator().release(context.allocator().allocate(4096));
  const auto stream = static_cast<cudaStream_t>(context.stream().handle);
  REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
  CHECK(context.allocator().allocate(4096) != nullptr);  // a cached block needs no device
  const auto [kind, message] = failure_of([&] { static_cast<void>(context.allocator().allocate(100000)); });
  CHECK(kind == ErrorKind::runtime);
  CHECK_THAT(message, ContainsSubstring("a step that is being captured neither allocates nor waits"));
  CHECK(cuda_mock::live().memory == 1);  // the cached block was not sacrificed
  cudaGraph_t graph = nullptr;
  CHECK(cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureInvalidated);
}
