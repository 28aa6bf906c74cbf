#include "kernels/core/device.h"

#include "kernels/core/device_resources.h"
#include "tests/cuda_mock/fixture.h"

using namespace zeroth;

TEST_CASE("copies are in order and done only after a wait", "[device]") {
  cuda_mock::start();
  Context context(kCuda);
  const DeviceBackend& cuda = context.memory();
  void* a = context.allocator().allocate(256);
  void* b = context.allocator().allocate(256);
  const std::vector<std::int32_t> from{1, 2, 3};
  std::vector<std::int32_t> to(4, -1);
  cuda.fill_zero(b, 16, context.stream());
  cuda.copy_to_device(a, from.data(), 12, context.stream());
  cuda.copy_on_device(b, a, 12, context.stream());
  cuda.copy_to_host(to.data(), b, 16, context.stream());
  CHECK(to == std::vector<std::int32_t>(4, -1));
  CHECK(cuda_mock::waits() == 0);
  context.synchronize();
  CHECK(cuda_mock::waits() == 1);
  CHECK(to == std::vector<std::int32_t>{1, 2, 3, 0});
}

TEST_CASE("a device says how large its last cache is", "[device]") {
  cuda_mock::start({.gpus = {{}, {.l2_bytes = 12345}}});
  const Context context({DeviceKind::cuda, 1});
  CHECK(context.memory().cache_bytes(0) == 4 << 20);
  CHECK(context.memory().cache_bytes(1) == 12345);
}

TEST_CASE("an error names expression, cause, file and line", "[device]") {
  cuda_mock::start();
  Context context(kCuda);
  const DeviceBackend& cuda = context.memory();
  void* data = cuda.allocate(0, 100);
  std::vector<std::byte> host(200);
  const auto [kind, message] =
      failure_of([&] { cuda.copy_to_device(data, host.data(), 101, context.stream()); });
  CHECK(kind == ErrorKind::runtime);
  CHECK_THAT(message, ContainsSubstring("cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, "));
  CHECK_THAT(message, ContainsSubstring(": invalid argument (cuda_device.cpp:"));
  CHECK(message.find('\n') == std::string::npos);
  CHECK(cudaGetLastError() == cudaSuccess);  // said once, and not again by the next call
  CHECK_THROWS_AS(cuda.copy_to_host(host.data(), data, 101, context.stream()), Error);
  CHECK_THROWS_AS(cuda.fill_zero(static_cast<std::byte*>(data) + 1, 100, context.stream()), Error);
  CHECK_THROWS_AS(cuda.copy_on_device(host.data(), data, 1, context.stream()), Error);
  cuda.release(0, data);
  CHECK_THROWS_AS(cuda.fill_zero(data, 1, context.stream()), Error);  // after it was freed
  CHECK_NOTHROW(cuda.release(0, data));  // refused by CUDA, and no reason to stop
  CHECK(cudaGetLastError() == cudaErrorInvalidValue);
}

TEST_CASE("a failed device says so, with advice", "[device]") {
  cuda_mock::start();
  Context context(kCuda);
  cuda_mock::machine().broken = cudaErrorIllegalAddress;
  const std::string message = failure_of([&] { context.synchronize(); }).second;
  CHECK_THAT(message,
             ContainsSubstring("an illegal memory access was encountered; a kernel that was queued before "
                               "has failed: --sync-launches names it ("));
}

TEST_CASE("waiting during a capture is refused in words", "[device]") {
  cuda_mock::start();
  Context context(kCuda);
  const auto stream = static_cast<cudaStream_t>(context.stream().handle);
  cudaGraph_t graph = nullptr;
  REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
  CHECK_THAT(failure_of([&] { context.synchronize(); }).second,
             ContainsSubstring("a step that is being captured neither allocates nor waits"));
  CHECK(cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureInvalidated);
  CHECK(cudaGetLastError() == cudaErrorStreamCaptureInvalidated);
  REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
  REQUIRE(cudaStreamEndCapture(stream, &graph) == cudaSuccess);
  CHECK(cudaGraphDestroy(graph) == cudaSuccess);
}

TEST_CASE("events mark points of a stream", "[device]") {
  cuda_mock::start({.gpus = {{}, {}}});
  Context context(kCuda);
  void* data = context.allocator().allocate(256);
  Event begin(context.memory(), 0), end(context.memory(), 0), elsewhere(context.memory(), 1);
  CHECK_NOTHROW(begin.wait());  // never recorded: nothing to wait for
  CHECK_THROWS_AS(end.milliseconds_since(begin), Error);
  begin.record(context.stream());
  for (int i = 0; i < 5; ++i) context.memory().fill_zero(data, 256, context.stream());
  end.record(context.stream());
  CHECK_THROWS_AS(end.milliseconds_since(begin), Error);  // not passed yet
  context.memory().fill_zero(data, 256, context.stream());
  end.wait();
  CHECK(cuda_mock::waits() == 1);
  CHECK(end.milliseconds_since(begin) == 6.0);                 // the mock's clock counts operations
  CHECK_THROWS_AS(elsewhere.record(context.stream()), Error);  // an event of another device
}

TEST_CASE("a stream waits for another's event without the host", "[device]") {
  cuda_mock::start();
  const DeviceBackend& cuda = backend(DeviceKind::cuda);
  const OwnedStream first(cuda, 0), second(cuda, 0);
  const DeviceMemory memory(cuda, 0, 256);
  const std::vector<std::int32_t> from{7};
  std::vector<std::int32_t> to{0};
  Event copied(cuda, 0);
  cuda.copy_to_device(memory.data(), from.data(), 4, first.get());
  copied.record(first.get());
  copied.queue_wait(second.get());
  cuda.copy_to_host(to.data(), memory.data(), 4, second.get());
  CHECK(cuda_mock::waits() == 0);
  cuda.synchronize(second.get());
  CHECK(to[0] == 7);
}

TEST_CASE("an event on the host measures time", "[device]") {
  const DeviceBackend& host = backend(DeviceKind::cpu);
  Event begin(host, 0), end(host, 0);
  begin.record({});
  end.record({});
  end.wait();
  CHECK(end.milliseconds_since(begin) >= 0.0);
  CHECK(end.milliseconds_since(begin) < 60000.0);
}
