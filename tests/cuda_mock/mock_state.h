#pragma once

// What the parts of the mock share.

#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "tests/cuda_mock/cuda_mock.h"

namespace cuda_mock {

/// Work recorded in an order that its streams allow, the one in which it was queued.
using Nodes = std::vector<std::function<cudaError_t()>>;

struct Capture {
  CUstream_st* origin = nullptr;
  std::thread::id thread = std::this_thread::get_id();
  std::set<CUstream_st*> streams;
  Nodes nodes;
  bool invalidated = false;
};

}  // namespace cuda_mock

struct CUstream_st {
  struct Operation {
    std::size_t number;
    std::function<cudaError_t()> run;
  };
  int device;
  std::deque<Operation> queue;
  std::size_t queued = 0, done = 0;  // numbers of operations
  std::shared_ptr<cuda_mock::Capture> capture;
  std::size_t captured = 0,
              joined = 0;  // numbers of captured operations; joined: waited for by another stream
};

struct CUevent_st {
  int device;
  CUstream_st* stream = nullptr;  // of the last record; null before one
  std::size_t number = 0;
  std::shared_ptr<cuda_mock::Capture>
      capture;  // of the last record; `number` is then that of a captured operation
  double time = 0.0;
};

struct CUgraph_st {
  cuda_mock::Nodes nodes;
};

struct CUgraphExec_st {
  int device;
  std::shared_ptr<const cuda_mock::Nodes> nodes;
};

namespace cuda_mock {

inline constexpr int kRuntime = 13000;
inline constexpr std::size_t kPlainSharedBytes = 48 << 10, kMostThreads = 1024;

struct Block {
  std::size_t bytes;
  int device;
};

struct Kernel {
  const char* name;
  std::function<std::function<cudaError_t()>(void**)> bind;
  std::size_t shared_bytes = kPlainSharedBytes;
};

struct State {
  Machine machine;
  std::map<std::byte*, Block> memory, pinned;
  std::vector<std::unique_ptr<std::byte, decltype(&std::free)>> addresses;  // not handed out twice
  std::map<CUstream_st*, std::unique_ptr<CUstream_st>> streams;
  std::map<CUevent_st*, std::unique_ptr<CUevent_st>> events;
  std::map<const void*, Kernel> kernels;
  std::map<CUgraph_st*, std::unique_ptr<CUgraph_st>> graphs;
  std::map<CUgraphExec_st*, std::unique_ptr<CUgraphExec_st>> executables;
  std::map<int, cudaError_t> faults;  // of each device, for ever
  std::map<int, std::size_t> used;
  cudaError_t last = cudaSuccess;
  std::size_t waits = 0;
  double clock = 0.0;
};

extern std::unique_ptr<State> state;
extern thread_local int current;

/// Notes an error as the thread's last one.
cudaError_t failed(cudaError_t status);
/// What every call returns that needs a device.
cudaError_t trouble();
/// In a capture of this thread, in thread-local mode, calls that may wait for the device or that no capture
/// sees are refused and spoil the capture.
cudaError_t refuse_in_capture();
bool known(CUstream_st* stream);
bool known(CUevent_st* event);
/// The block that holds [data, data + bytes), or null.
const Block* find(const std::map<std::byte*, Block>& blocks, const void* data, std::size_t bytes);
/// Runs what is queued, up to that operation.
cudaError_t run_until(CUstream_st& stream, std::size_t number);
/// Queues an operation, or makes it a node of the graph that is being captured.
cudaError_t enqueue(CUstream_st* stream, std::function<cudaError_t()> run);

}  // namespace cuda_mock
