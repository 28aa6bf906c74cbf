// Streams, events, captures and graphs.

#include <algorithm>
#include <utility>

#include "tests/cuda_mock/mock_state.h"

using namespace cuda_mock;

extern "C" {

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  if (const cudaError_t status = trouble(); status != cudaSuccess) return failed(status);
  if (flags != cudaStreamNonBlocking) return failed(cudaErrorInvalidValue);
  auto created = std::make_unique<CUstream_st>();
  created->device = current;
  *stream = created.get();
  state->streams[*stream] = std::move(created);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  if (state->machine.broken != cudaSuccess) return failed(state->machine.broken);
  if (!known(stream)) return failed(cudaErrorInvalidResourceHandle);
  run_until(*stream, stream->queued);
  for (auto& [handle, event] : state->events)
    if (event->stream == stream) event->stream = nullptr;
  state->streams.erase(stream);
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (state->machine.broken != cudaSuccess) return failed(state->machine.broken);
  if (!known(stream)) return failed(cudaErrorInvalidResourceHandle);
  if (stream->capture != nullptr) {
    stream->capture->invalidated = true;
    return failed(cudaErrorStreamCaptureUnsupported);
  }
  return failed(run_until(*stream, stream->queued));
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (const cudaError_t status = trouble(); status != cudaSuccess) return failed(status);
  if (!known(stream) || !known(event)) return failed(cudaErrorInvalidResourceHandle);
  CUstream_st* other = event->stream;
  if (event->capture != nullptr || stream->capture != nullptr) {
    if (other == nullptr) return cudaSuccess;
    if (event->capture == nullptr) {  // work outside the capture
      stream->capture->invalidated = true;
      return failed(cudaErrorStreamCaptureIsolation);
    }
    if (!known(event->capture->origin) || event->capture->origin->capture != event->capture)
      return failed(cudaErrorCapturedEvent);  // it has ended
    if (stream->capture == nullptr) {
      stream->capture = event->capture;
      stream->captured = stream->joined = 0;
      stream->capture->streams.insert(stream);
    }
    if (stream->capture != event->capture) {
      stream->capture->invalidated = event->capture->invalidated = true;
      return failed(cudaErrorStreamCaptureMerge);
    }
    if (other != stream) other->joined = std::max(other->joined, event->number);
    return cudaSuccess;
  }
  const std::size_t number = event->number;
  return enqueue(stream, [=] { return known(other) ? run_until(*other, number) : cudaSuccess; });
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (const cudaError_t status = trouble(); status != cudaSuccess) return failed(status);
  if (stream == nullptr) return failed(cudaErrorStreamCaptureUnsupported);  // the legacy stream
  if (!known(stream)) return failed(cudaErrorInvalidResourceHandle);
  if (stream->capture != nullptr) return failed(cudaErrorIllegalState);
  stream->capture = std::make_shared<Capture>();
  stream->capture->origin = stream;
  stream->capture->streams.insert(stream);
  stream->captured = stream->joined = 0;
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  if (state->machine.broken != cudaSuccess) return failed(state->machine.broken);
  if (!known(stream)) return failed(cudaErrorInvalidResourceHandle);
  *status = stream->capture == nullptr     ? cudaStreamCaptureStatusNone
            : stream->capture->invalidated ? cudaStreamCaptureStatusInvalidated
                                           : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (!known(stream)) return failed(cudaErrorInvalidResourceHandle);
  if (stream->capture == nullptr) return failed(cudaErrorIllegalState);
  const std::shared_ptr<Capture> capture = stream->capture;
  if (capture->origin != stream) {
    capture->invalidated = true;
    return failed(cudaErrorStreamCaptureUnmatched);
  }
  bool joined = true;
  for (CUstream_st* part : capture->streams) {
    joined = joined && (part == stream || part->joined == part->captured);
    part->capture = nullptr;
  }
  if (capture->invalidated) return failed(cudaErrorStreamCaptureInvalidated);
  if (!joined) return failed(cudaErrorStreamCaptureUnjoined);
  auto created = std::make_unique<CUgraph_st>(CUgraph_st{std::move(capture->nodes)});
  *graph = created.get();
  state->graphs[*graph] = std::move(created);
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return state->graphs.erase(graph) == 1 ? cudaSuccess : failed(cudaErrorInvalidValue);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long flags) {
  *executable = nullptr;
  if (const cudaError_t status = trouble(); status != cudaSuccess) return failed(status);
  if (const cudaError_t status = refuse_in_capture(); status != cudaSuccess) return failed(status);
  if (!state->graphs.contains(graph) || flags != 0) return failed(cudaErrorInvalidValue);
  auto created =
      std::make_unique<CUgraphExec_st>(CUgraphExec_st{current, std::make_shared<const Nodes>(graph->nodes)});
  *executable = created.get();
  state->executables[*executable] = std::move(created);
  return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t executable, cudaStream_t stream) {
  if (const cudaError_t status = trouble(); status != cudaSuccess) return failed(status);
  if (!state->executables.contains(executable)) return failed(cudaErrorInvalidValue);
  return known(stream) ? cudaSuccess : failed(cudaErrorInvalidResourceHandle);
}

/// In a capture it is refused: CUDA would make it a part of the graph, which zeroth never asks for.
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  if (const cudaError_t status = trouble(); status != cudaSuccess) return failed(status);
  if (!state->executables.contains(executable)) return failed(cudaErrorInvalidValue);
  if (!known(stream) || stream->device != executable->device) return failed(cudaErrorInvalidResourceHandle);
  if (const cudaError_t status = refuse_in_capture(); status != cudaSuccess) return failed(status);
  return enqueue(stream, [nodes = executable->nodes] {
    for (const auto& node : *nodes)
      if (const cudaError_t status = node(); status != cudaSuccess) return status;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  if (state->machine.broken != cudaSuccess) return failed(state->machine.broken);
  return state->executables.erase(executable) == 1 ? cudaSuccess : failed(cudaErrorInvalidValue);
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  if (const cudaError_t status = trouble(); status != cudaSuccess) return failed(status);
  auto created = std::make_unique<CUevent_st>();
  created->device = current;
  *event = created.get();
  state->events[*event] = std::move(created);
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  if (state->machine.broken != cudaSuccess) return failed(state->machine.broken);
  return state->events.erase(event) == 1 ? cudaSuccess : failed(cudaErrorInvalidResourceHandle);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (const cudaError_t status = trouble(); status != cudaSuccess) return failed(status);
  if (!known(event) || !known(stream) || event->device != stream->device)
    return failed(cudaErrorInvalidResourceHandle);
  event->stream = stream;
  event->capture = stream->capture;
  if (stream->capture != nullptr) {
    event->number = stream->captured;
    return cudaSuccess;
  }
  enqueue(stream, [=] {
    if (known(event)) event->time = state->clock;
    return cudaSuccess;
  });
  event->number = stream->queued;
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (state->machine.broken != cudaSuccess) return failed(state->machine.broken);
  if (!known(event)) return failed(cudaErrorInvalidResourceHandle);
  if (event->capture != nullptr) return failed(cudaErrorCapturedEvent);
  return event->stream == nullptr ? cudaSuccess : failed(run_until(*event->stream, event->number));
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  if (const cudaError_t status = trouble(); status != cudaSuccess) return failed(status);
  for (CUevent_st* event : {begin, end}) {
    if (known(event) && event->capture != nullptr) return failed(cudaErrorCapturedEvent);
    if (!known(event) || event->stream == nullptr || event->device != begin->device)
      return failed(cudaErrorInvalidResourceHandle);
    if (event->stream->done < event->number) return failed(cudaErrorNotReady);
  }
  *milliseconds = static_cast<float>(end->time - begin->time);
  return cudaSuccess;
}

}  // extern "C"
