#pragma once

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <atomic>
#include <cstddef>

/// What a test decides of the toy library, and sees of it. One rank alone: its collectives copy.
struct ToyNccl {
  /// Queues a copy on a stream of the mock.
  cudaError_t (*copy)(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                      cudaStream_t stream);
  std::atomic<int> polls_until_ready{
      0};  ///< how often a new communicator says that it is in progress; -1: always
  std::atomic<ncclResult_t> error{ncclSuccess};  ///< that happens in the background
  std::atomic<int> finalized{0}, destroyed{0}, aborted{0}, blocking{-1};
};

extern "C" ToyNccl* toy_nccl();
