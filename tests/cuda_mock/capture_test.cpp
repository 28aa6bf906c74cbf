#include "kernels/core/device_resources.h"
#include "tests/cuda_mock/fixture.h"

using namespace zeroth;

namespace {

constexpr const char* kRule =
    "a step that is being captured neither allocates, waits, nor copies from or to the host";

/// A context with two values in device memory.
struct Captured {
  DeviceKind kind;
  Context context;
  const DeviceBackend& device;
  void *a, *b;

  explicit Captured(DeviceKind k)
      : kind(k),
        context({k, 0}),
        device(context.memory()),
        a(context.allocator().allocate(256)),
        b(context.allocator().allocate(256)) {
    upload(context, a, {1});
    upload(context, b, {2});
  }

  std::int32_t value(const void* data) { return values_at(context, data, 1)[0]; }
  /// What a capture of `queue` throws. The stream is of use afterwards.
  template <class Queue>
  std::string refusal(Queue&& queue) {
    const std::string message = failure_of([&] { CapturedGraph(device, context.stream(), queue); }).second;
    CHECK_FALSE(device.is_capturing(context.stream()));
    device.copy_on_device(b, a, 4, context.stream());
    CHECK(value(b) == value(a));
    return message;
  }
};

constexpr DeviceKind kBoth[] = {DeviceKind::cuda, DeviceKind::simt};

}  // namespace

TEST_CASE("captured work runs when it is launched, with what memory holds then", "[capture]") {
  for (const DeviceKind kind : kBoth) {
    cuda_mock::start();
    {
      Captured t(kind);
      const CapturedGraph graph(t.device, t.context.stream(), [&] {
        CHECK(t.device.is_capturing(t.context.stream()));
        t.device.copy_on_device(t.b, t.a, 4, t.context.stream());
        t.device.fill_zero(t.a, 4, t.context.stream());
      });
      CHECK_FALSE(t.device.is_capturing(t.context.stream()));
      CHECK(t.value(t.a) == 1);
      CHECK(t.value(t.b) == 2);
      graph.launch(t.context.stream());
      CHECK(t.value(t.a) == 0);
      CHECK(t.value(t.b) == 1);
      upload(t.context, t.a, {7});
      graph.launch(t.context.stream());
      upload(t.context, t.a, {8});
      graph.launch(t.context.stream());
      CHECK(t.value(t.a) == 0);
      CHECK(t.value(t.b) == 8);
    }
    CHECK(cuda_mock::live() == cuda_mock::Live{});
  }
}

TEST_CASE("what a captured step may not do is refused, and the stream goes on", "[capture]") {
  for (const DeviceKind kind : kBoth) {
    cuda_mock::start();
    Captured t(kind);
    INFO(name_of(kind));
    Context& context = t.context;
    std::int32_t host = 0;
    Event event(t.device, 0);
    const CapturedGraph empty(t.device, context.stream(), [] {});
    CHECK_THAT(t.refusal([&] { upload(context, t.a, {3}); }), ContainsSubstring(std::string("an upload")));
    CHECK_THAT(t.refusal([&] { t.device.copy_to_device(t.a, &host, 4, context.stream()); }),
               ContainsSubstring("a copy from the host while work is captured") && ContainsSubstring(kRule));
    CHECK_THAT(t.refusal([&] { t.device.copy_to_host(&host, t.a, 4, context.stream()); }),
               ContainsSubstring("a copy to the host while work is captured"));
    CHECK_THAT(t.refusal([&] { empty.launch(context.stream()); }),
               ContainsSubstring("a launch of a graph while work is captured"));
    const char* rule =
        kind == DeviceKind::simt ? kRule : "a step that is being captured neither allocates nor waits";
    CHECK_THAT(t.refusal([&] { context.synchronize(); }), ContainsSubstring(rule));
    CHECK_THAT(t.refusal([&] { static_cast<void>(t.device.allocate(0, 1 << 20)); }), ContainsSubstring(rule));
    CHECK_THAT(t.refusal([&] {
      event.record(context.stream());
      event.wait();
    }),
               ContainsSubstring(kind == DeviceKind::simt ? kRule : "last recorded in a capturing stream"));
    // A call that cannot throw spoils the capture, which says so at its end.
    void* memory = t.device.allocate(0, 64);
    CHECK_THAT(t.refusal([&] { t.device.release(0, memory); }),
               ContainsSubstring(kind == DeviceKind::simt ? "a release of memory while work is captured"
                                                          : "previous error during capture"));
    CHECK_THAT(t.refusal([&] { t.device.begin_capture(context.stream()); }),
               ContainsSubstring(kind == DeviceKind::simt ? "begins in a capture" : "present state"));
    CHECK_THAT(failure_of([&] { t.device.end_capture(context.stream()); }).second,
               ContainsSubstring(kind == DeviceKind::simt ? "ends that was not begun" : "present state"));
    if (kind == DeviceKind::cuda) t.device.release(0, memory);
  }
}

TEST_CASE("a stream forked from a captured one is captured, and has to be joined", "[capture]") {
  for (const DeviceKind kind : kBoth) {
    cuda_mock::start();
    Captured t(kind);
    INFO(name_of(kind));
    const Stream main = t.context.stream();
    const OwnedStream side(t.device, 0, OwnedStream::Kind::side);
    Event forked(t.device, 0), done(t.device, 0), outside(t.device, 0);
    const auto fork = [&] {
      forked.record(main);
      forked.queue_wait(side.get());
      t.device.copy_on_device(t.b, t.a, 4, side.get());
    };
    const auto join = [&] {
      done.record(side.get());
      done.queue_wait(main);
    };
    const CapturedGraph graph(t.device, main, [&] {
      fork();
      CHECK(t.device.is_capturing(side.get()));
      join();
      t.device.fill_zero(t.a, 4, main);
    });
    CHECK_FALSE(t.device.is_capturing(side.get()));
    graph.launch(main);
    CHECK(t.value(t.a) == 0);
    CHECK(t.value(t.b) == 1);
    CHECK_THAT(t.refusal(fork),
               ContainsSubstring(kind == DeviceKind::simt ? "waited for all streams" : "unjoined"));
    outside.record(side.get());
    CHECK_THAT(t.refusal([&] { outside.queue_wait(main); }),
               ContainsSubstring(kind == DeviceKind::simt ? "outside the capture" : "uncaptured work"));
    CHECK_THAT(
        t.refusal([&] {
          fork();
          static_cast<void>(t.device.end_capture(side.get()));
        }),
        ContainsSubstring(kind == DeviceKind::simt ? "another stream than it began on" : "not initiated"));
    fork();  // of use outside as well
    join();
    CHECK(t.value(t.b) == t.value(t.a));
  }
}

TEST_CASE("under simt work beside the stream is put off until somebody waits", "[capture]") {
  Captured t(DeviceKind::simt);
  const OwnedStream side(t.device, 0, OwnedStream::Kind::side);
  Event done(t.device, 0);
  t.device.copy_on_device(t.b, t.a, 4, side.get());
  CHECK(t.value(t.b) == 2);
  t.device.fill_zero(t.a, 4, t.context.stream());  // with no wait before it: the copy comes too late
  done.record(side.get());
  done.queue_wait(t.context.stream());
  CHECK(t.value(t.b) == 0);
  upload(t.context, t.a, {5});
  t.device.copy_on_device(t.b, t.a, 4, side.get());
  t.device.synchronize(side.get());
  CHECK(t.value(t.b) == 5);
}

TEST_CASE("the CPU captures nothing, and says so", "[capture]") {
  Context context({DeviceKind::cpu, 0});
  const std::string why = context.memory().why_no_capture();
  CHECK(why == "the CPU's work is done when it is queued, and cannot be captured");
  CHECK(failure_of([&] { CapturedGraph(context.memory(), context.stream(), [] {}); }).second == why);
}

TEST_CASE("a graph that cannot be made ready leaves nothing behind", "[capture]") {
  cuda_mock::start();
  {
    Captured t(DeviceKind::cuda);
    cudaGraph_t recorded = nullptr;
    cudaGraphExec_t executable = nullptr;
    CHECK(cudaGraphInstantiate(&executable, recorded, 0) == cudaErrorInvalidValue);
    CHECK(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeThreadLocal) ==
          cudaErrorStreamCaptureUnsupported);
    CHECK(cudaGetLastError() == cudaErrorStreamCaptureUnsupported);
    const auto stream = static_cast<cudaStream_t>(t.context.stream().handle);
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
    CHECK(cudaFree(t.a) == cudaErrorStreamCaptureUnsupported);
    CHECK(cudaStreamIsCapturing(stream, &status) == cudaSuccess);
    CHECK(status == cudaStreamCaptureStatusInvalidated);
    CHECK(cudaMemsetAsync(t.a, 0, 4, stream) == cudaErrorStreamCaptureInvalidated);
    CHECK(cudaStreamEndCapture(stream, &recorded) == cudaErrorStreamCaptureInvalidated);
    CHECK(recorded == nullptr);
    CHECK(cudaGetLastError() == cudaErrorStreamCaptureInvalidated);
  }
  CHECK(cuda_mock::live() == cuda_mock::Live{});
}
