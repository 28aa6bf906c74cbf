#include "tests/cuda_mock/cuda_mock.h"

#include <cstring>
#include <utility>

#include "tests/cuda_mock/mock_state.h"

namespace cuda_mock {

std::unique_ptr<State> state = std::make_unique<State>();
thread_local int current = 0;

cudaError_t failed(cudaError_t status) {
  if (status != cudaSuccess) state->last = status;
  return status;
}

cudaError_t trouble() {
  if (state->machine.broken != cudaSuccess) return state->machine.broken;
  if (state->machine.driver < kRuntime) return cudaErrorInsufficientDriver;
  if (state->machine.gpus.empty()) return cudaErrorNoDevice;
  const auto fault = state->faults.find(current);
  return fault == state->faults.end() ? cudaSuccess : fault->second;
}

cudaError_t refuse_in_capture() {
  bool capturing = false;
  for (auto& [handle, stream] : state->streams) {
    if (stream->capture != nullptr && stream->capture->thread == std::this_thread::get_id())
      capturing = stream->capture->invalidated = true;
  }
  return capturing ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}

bool known(CUstream_st* stream) {
  return state->streams.contains(stream);
}
bool known(CUevent_st* event) {
  return state->events.contains(event);
}

const Block* find(const std::map<std::byte*, Block>& blocks, const void* data, std::size_t bytes) {
  auto* begin = static_cast<std::byte*>(const_cast<void*>(data));
  auto after = blocks.upper_bound(begin);
  if (after == blocks.begin()) return nullptr;
  const auto& [start, block] = *--after;
  return begin + bytes <= start + block.bytes ? &block : nullptr;
}

cudaError_t run_until(CUstream_st& stream, std::size_t number) {
  if (stream.done < number) ++state->waits;
  while (!stream.queue.empty() && stream.done < number) {
    const CUstream_st::Operation operation = stream.queue.front();
    stream.queue.pop_front();
    stream.done = operation.number;
    state->clock += 1.0;
    if (state->faults.contains(stream.device)) continue;
    if (const cudaError_t status = operation.run(); status != cudaSuccess)
      state->faults[stream.device] = status;
  }
  const auto fault = state->faults.find(stream.device);
  return fault == state->faults.end() ? cudaSuccess : fault->second;
}

cudaError_t enqueue(CUstream_st* stream, std::function<cudaError_t()> run) {
  if (stream->capture != nullptr) {
    if (stream->capture->invalidated) return failed(cudaErrorStreamCaptureInvalidated);
    stream->capture->nodes.push_back(std::move(run));
    ++stream->captured;
    return cudaSuccess;
  }
  stream->queue.push_back({++stream->queued, std::move(run)});
  return cudaSuccess;
}

void start(const Machine& machine) {
  state = std::make_unique<State>();
  state->machine = machine;
  current = 0;
}

Machine& machine() {
  return state->machine;
}

Live live() {
  return {state->memory.size(), state->pinned.size(), state->streams.size(), state->events.size(),
          state->graphs.size() + state->executables.size()};
}

std::size_t waits() {
  return state->waits;
}

void add_kernel(const void* function, const char* name,
                std::function<std::function<cudaError_t()>(void** arguments)> bind) {
  state->kernels[function] = {name, std::move(bind)};
}

}  // namespace cuda_mock

using namespace cuda_mock;

namespace {

cudaError_t allocate(std::map<std::byte*, Block>& blocks, void** data, std::size_t bytes) {
  auto* address = static_cast<std::byte*>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
  if (address == nullptr) return cudaErrorMemoryAllocation;
  state->addresses.emplace_back(address, &std::free);
  blocks[address] = {bytes, current};
  *data = address;
  return cudaSuccess;
}

void finish_all_work() {
  for (auto& [handle, stream] : state->streams) run_until(*stream, stream->queued);
}

}  // namespace

extern "C" {

cudaError_t cudaGetLastError() {
  const auto fault = state->faults.find(current);
  return fault != state->faults.end() ? fault->second : std::exchange(state->last, cudaSuccess);
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorCudartUnloading:
      return "driver shutting down";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInvalidResourceHandle:
      return "invalid resource handle";
    case cudaErrorIllegalAddress:
      return "an illegal memory access was encountered";
    case cudaErrorIllegalState:
      return "the operation cannot be performed in the present state";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
    case cudaErrorStreamCaptureUnmatched:
      return "capture was not initiated in this stream";
    case cudaErrorStreamCaptureUnjoined:
      return "capturing stream has unjoined work";
    case cudaErrorStreamCaptureIsolation:
      return "dependency created on uncaptured work in another stream";
    case cudaErrorCapturedEvent:
      return "operation not permitted on an event last recorded in a capturing stream";
    case cudaErrorSystemDriverMismatch:
      return "system has unsupported display driver / cuda driver combination";
    default:
      return "another error";
  }
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = state->machine.driver;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = kRuntime;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  if (const cudaError_t status = trouble(); status != cudaSuccess) return failed(status);
  *count = static_cast<int>(state->machine.gpus.size());
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (const cudaError_t status = trouble(); status != cudaSuccess) return failed(status);
  if (device < 0 || device >= static_cast<int>(state->machine.gpus.size()))
    return failed(cudaErrorInvalidDevice);
  const cuda_mock::Gpu& gpu = state->machine.gpus[static_cast<std::size_t>(device)];
  *properties = {};
  gpu.name.copy(properties->name, sizeof(properties->name) - 1);
  properties->totalGlobalMem = gpu.memory;
  properties->major = gpu.major;
  properties->multiProcessorCount = 100;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (const cudaError_t status = trouble(); status != cudaSuccess) return failed(status);
  if (device < 0 || device >= static_cast<int>(state->machine.gpus.size()))
    return failed(cudaErrorInvalidDevice);
  const cuda_mock::Gpu& gpu = state->machine.gpus[static_cast<std::size_t>(device)];
  if (attribute != cudaDevAttrComputeCapabilityMajor && attribute != cudaDevAttrL2CacheSize)
    return failed(cudaErrorInvalidValue);
  *value = attribute == cudaDevAttrL2CacheSize ? gpu.l2_bytes : gpu.major;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  if (state->machine.broken != cudaSuccess) return failed(state->machine.broken);
  *device = current;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  if (state->machine.broken != cudaSuccess) return failed(state->machine.broken);
  if (device < 0 || device >= static_cast<int>(state->machine.gpus.size()))
    return failed(cudaErrorInvalidDevice);
  current = device;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** data, std::size_t bytes) {
  if (const cudaError_t status = trouble(); status != cudaSuccess) return failed(status);
  if (const cudaError_t status = refuse_in_capture(); status != cudaSuccess) return failed(status);
  std::size_t& used = state->used[current];
  if (bytes > state->machine.gpus[static_cast<std::size_t>(current)].memory - used)
    return failed(cudaErrorMemoryAllocation);
  used += bytes;
  return failed(allocate(state->memory, data, bytes));
}

cudaError_t cudaFree(void* data) {
  if (state->machine.broken != cudaSuccess) return failed(state->machine.broken);
  if (data == nullptr) return cudaSuccess;
  if (const cudaError_t status = refuse_in_capture(); status != cudaSuccess) return failed(status);
  const auto block = state->memory.find(static_cast<std::byte*>(data));
  if (block == state->memory.end()) return failed(cudaErrorInvalidValue);
  finish_all_work();
  state->used[block->second.device] -= block->second.bytes;
  state->memory.erase(block);
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** data, std::size_t bytes) {
  if (const cudaError_t status = trouble(); status != cudaSuccess) return failed(status);
  if (const cudaError_t status = refuse_in_capture(); status != cudaSuccess) return failed(status);
  return failed(allocate(state->pinned, data, bytes));
}

/// Waits for nothing: a copy that is still queued from this memory faults.
cudaError_t cudaFreeHost(void* data) {
  if (state->machine.broken != cudaSuccess) return failed(state->machine.broken);
  if (const cudaError_t status = refuse_in_capture(); status != cudaSuccess) return failed(status);
  return state->pinned.erase(static_cast<std::byte*>(data)) == 1 ? cudaSuccess
                                                                 : failed(cudaErrorInvalidValue);
}

cudaError_t cudaMemGetInfo(std::size_t* available, std::size_t* total) {
  if (const cudaError_t status = trouble(); status != cudaSuccess) return failed(status);
  *total = state->machine.gpus[static_cast<std::size_t>(current)].memory;
  *available = *total - state->used[current];
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* data, int value, std::size_t bytes, cudaStream_t stream) {
  if (const cudaError_t status = trouble(); status != cudaSuccess) return failed(status);
  if (!known(stream) || stream->device != current) return failed(cudaErrorInvalidResourceHandle);
  const Block* block = find(state->memory, data, bytes);
  if (block == nullptr || block->device != current) return failed(cudaErrorInvalidValue);
  return enqueue(stream, [=] {
    if (find(state->memory, data, bytes) == nullptr) return cudaErrorIllegalAddress;
    std::memset(data, value, bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  if (const cudaError_t status = trouble(); status != cudaSuccess) return failed(status);
  if (!known(stream)) return failed(cudaErrorInvalidResourceHandle);
  const bool to_device = kind != cudaMemcpyDeviceToHost, from_device = kind != cudaMemcpyHostToDevice;
  if (to_device && find(state->memory, to, bytes) == nullptr) return failed(cudaErrorInvalidValue);
  if (from_device && find(state->memory, from, bytes) == nullptr) return failed(cudaErrorInvalidValue);
  const bool to_pinned = find(state->pinned, to, 1) != nullptr,
             from_pinned = find(state->pinned, from, 1) != nullptr;
  if (to_pinned && find(state->pinned, to, bytes) == nullptr) return failed(cudaErrorInvalidValue);
  if (from_pinned && find(state->pinned, from, bytes) == nullptr) return failed(cudaErrorInvalidValue);
  return enqueue(stream, [=] {
    if (to_device && find(state->memory, to, bytes) == nullptr) return cudaErrorIllegalAddress;
    if (from_device && find(state->memory, from, bytes) == nullptr) return cudaErrorIllegalAddress;
    if (to_pinned && find(state->pinned, to, bytes) == nullptr) return cudaErrorIllegalAddress;
    if (from_pinned && find(state->pinned, from, bytes) == nullptr) return cudaErrorIllegalAddress;
    if (bytes > 0) std::memcpy(to, from, bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  if (const cudaError_t status = trouble(); status != cudaSuccess) return failed(status);
  const auto kernel = state->kernels.find(function);
  if (kernel == state->kernels.end()) return failed(cudaErrorInvalidDeviceFunction);
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value > (227 << 10))
    return failed(cudaErrorInvalidValue);
  kernel->second.shared_bytes = static_cast<std::size_t>(value);
  return cudaSuccess;
}

cudaError_t cudaFuncGetName(const char** name, const void* function) {
  const auto kernel = state->kernels.find(function);
  if (kernel == state->kernels.end()) return failed(cudaErrorInvalidDeviceFunction);
  *name = kernel->second.name;
  return cudaSuccess;
}

cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** arguments,
                             std::size_t shared_bytes, cudaStream_t stream) {
  if (const cudaError_t status = trouble(); status != cudaSuccess) return failed(status);
  if (!known(stream) || stream->device != current) return failed(cudaErrorInvalidResourceHandle);
  const auto kernel = state->kernels.find(function);
  if (kernel == state->kernels.end()) return failed(cudaErrorInvalidDeviceFunction);
  const std::size_t threads = std::size_t{block.x} * block.y * block.z;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || threads == 0 || threads > kMostThreads)
    return failed(cudaErrorInvalidConfiguration);
  if (shared_bytes > kernel->second.shared_bytes) return failed(cudaErrorInvalidValue);
  return enqueue(stream, kernel->second.bind(arguments));
}

}  // extern "C"
