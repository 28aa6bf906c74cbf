#include "kernels/core/cuda_device.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include "kernels/core/cuda_check.h"
#include "kernels/core/error.h"

namespace zeroth::cuda_native {

namespace {

cudaStream_t handle_of(Stream stream) {
  return static_cast<cudaStream_t>(stream.handle);
}
cudaEvent_t event_of(void* event) {
  return static_cast<cudaEvent_t>(event);
}

/// Memory, streams and events of NVIDIA GPUs through the CUDA runtime. What destroys ignores errors: after a
/// fault every call fails, and at the end of the process the driver may be gone.
class CudaBackend final : public DeviceBackend {
 public:
  CudaBackend() {
    if (const std::string reason = why_unavailable(); !reason.empty()) fail(ErrorKind::device, reason);
  }

  void activate(int device_index) const override { cuda_native::activate(device_index); }

  Stream create_stream(int device_index) const override {
    if (const std::string reason = why_unusable(device_index); !reason.empty())
      fail(ErrorKind::device, reason);
    activate(device_index);
    cudaStream_t stream = nullptr;
    ZEROTH_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    return {stream, device_index, false};
  }
  void destroy_stream(Stream stream) const noexcept override { cudaStreamDestroy(handle_of(stream)); }
  void synchronize(Stream stream) const override {
    activate(stream.device);
    ZEROTH_CUDA_CHECK(cudaStreamSynchronize(handle_of(stream)));
  }

  void* allocate(int device_index, std::size_t bytes) const override {
    activate(device_index);
    void* data = nullptr;
    const cudaError_t status = cudaMalloc(&data, bytes);
    if (status != cudaErrorMemoryAllocation) {
      check(status, "cudaMalloc(&data, bytes)", __FILE__, __LINE__);
      return data;
    }
    cudaGetLastError();  // clears the error, which is reported here
    std::size_t available = 0, total = 0;
    cudaMemGetInfo(&available, &total);
    throw OutOfMemory(fmt::format("out of memory on cuda:{}: {} bytes were asked for, {} of {} are free",
                                  device_index, bytes, available, total));
  }
  void release(int, void* data) const noexcept override { cudaFree(data); }
  void* allocate_pinned(int device_index, std::size_t bytes) const override {
    activate(device_index);
    void* data = nullptr;
    ZEROTH_CUDA_CHECK(cudaMallocHost(&data, bytes));
    return data;
  }
  void release_pinned(void* data) const noexcept override { cudaFreeHost(data); }

  void fill_zero(void* data, std::size_t bytes, Stream stream) const override {
    activate(stream.device);
    ZEROTH_CUDA_CHECK(cudaMemsetAsync(data, 0, bytes, handle_of(stream)));
    finish(stream);
  }
  void copy_to_device(void* to, const void* from, std::size_t bytes, Stream stream) const override {
    activate(stream.device);
    if (is_capturing(stream)) fail_in_capture("a copy from the host");
    ZEROTH_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, handle_of(stream)));
    finish(stream);
  }
  void copy_to_host(void* to, const void* from, std::size_t bytes, Stream stream) const override {
    activate(stream.device);
    if (is_capturing(stream)) fail_in_capture("a copy to the host");
    ZEROTH_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, handle_of(stream)));
    finish(stream);
  }
  void copy_on_device(void* to, const void* from, std::size_t bytes, Stream stream) const override {
    activate(stream.device);
    ZEROTH_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, handle_of(stream)));
    finish(stream);
  }

  void* create_event(int device_index) const override {
    activate(device_index);
    cudaEvent_t event = nullptr;
    ZEROTH_CUDA_CHECK(cudaEventCreate(&event));
    return event;
  }
  void destroy_event(void* event) const noexcept override { cudaEventDestroy(event_of(event)); }
  void record_event(void* event, Stream stream) const override {
    activate(stream.device);
    ZEROTH_CUDA_CHECK(cudaEventRecord(event_of(event), handle_of(stream)));
  }
  void wait_for_event(void* event) const override {
    ZEROTH_CUDA_CHECK(cudaEventSynchronize(event_of(event)));
  }
  void queue_wait(Stream stream, void* event) const override {
    activate(stream.device);
    ZEROTH_CUDA_CHECK(cudaStreamWaitEvent(handle_of(stream), event_of(event), 0));
  }
  double milliseconds_between(void* begin, void* end) const override {
    float milliseconds = 0.0f;
    ZEROTH_CUDA_CHECK(cudaEventElapsedTime(&milliseconds, event_of(begin), event_of(end)));
    return milliseconds;
  }

  std::string why_no_capture() const override { return ""; }
  // Thread-local: what other threads do with the device is no matter of this capture.
  void begin_capture(Stream stream) const override {
    activate(stream.device);
    ZEROTH_CUDA_CHECK(cudaStreamBeginCapture(handle_of(stream), cudaStreamCaptureModeThreadLocal));
  }
  bool is_capturing(Stream stream) const override {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    ZEROTH_CUDA_CHECK(cudaStreamIsCapturing(handle_of(stream), &status));
    return status != cudaStreamCaptureStatusNone;
  }
  void* end_capture(Stream stream) const override {
    activate(stream.device);
    cudaGraph_t recorded = nullptr;
    ZEROTH_CUDA_CHECK(cudaStreamEndCapture(handle_of(stream), &recorded));
    cudaGraphExec_t graph = nullptr;
    const cudaError_t status = cudaGraphInstantiate(&graph, recorded, 0);
    cudaGraphDestroy(recorded);
    check(status, "cudaGraphInstantiate(&graph, recorded, 0)", __FILE__, __LINE__);
    cudaGraphUpload(graph, handle_of(stream));  // else the first launch does it
    return graph;
  }
  void launch_graph(void* graph, Stream stream) const override {
    activate(stream.device);
    if (is_capturing(stream)) fail_in_capture("a launch of a graph");
    ZEROTH_CUDA_CHECK(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), handle_of(stream)));
    finish(stream);
  }
  void destroy_graph(void* graph) const noexcept override {
    cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph));
  }

  std::size_t cache_bytes(int device_index) const override {
    int bytes = 0;
    ZEROTH_CUDA_CHECK(cudaDeviceGetAttribute(&bytes, cudaDevAttrL2CacheSize, device_index));
    return static_cast<std::size_t>(bytes);
  }

 private:
  void finish(Stream stream) const {
    if (stream.synchronous) synchronize(stream);
  }
};

}  // namespace

std::size_t free_bytes(int device_index) {
  device_backend().activate(device_index);
  std::size_t available = 0, total = 0;
  ZEROTH_CUDA_CHECK(cudaMemGetInfo(&available, &total));
  return available;
}

const DeviceBackend& device_backend() {
  static const CudaBackend cuda;  // tried again by the next caller when it throws
  return cuda;
}

}  // namespace zeroth::cuda_native
