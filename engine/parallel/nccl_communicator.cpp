#include "engine/parallel/nccl_communicator.h"

#include <fmt/format.h>
#include <nccl.h>

#include <cstring>

#include "engine/parallel/rank_order.h"
#include "kernels/core/cuda_libraries.h"

namespace zeroth {

namespace {

struct Functions {
  SharedLibrary library{kNccl};
  ZEROTH_LIBRARY_FUNCTION(library, ncclGetUniqueId);
  ZEROTH_LIBRARY_FUNCTION(library, ncclCommInitRankConfig);
  ZEROTH_LIBRARY_FUNCTION(library, ncclCommFinalize);
  ZEROTH_LIBRARY_FUNCTION(library, ncclCommDestroy);
  ZEROTH_LIBRARY_FUNCTION(library, ncclCommAbort);
  ZEROTH_LIBRARY_FUNCTION(library, ncclCommGetAsyncError);
  ZEROTH_LIBRARY_FUNCTION(library, ncclGetErrorString);
  ZEROTH_LIBRARY_FUNCTION(library, ncclGetLastError);
  ZEROTH_LIBRARY_FUNCTION(library, ncclAllReduce);
  ZEROTH_LIBRARY_FUNCTION(library, ncclReduceScatter);
  ZEROTH_LIBRARY_FUNCTION(library, ncclAllGather);
  ZEROTH_LIBRARY_FUNCTION(library, ncclBroadcast);
};

const Functions& nccl() {
  static const Functions functions;  // tried again by the next caller when it throws
  return functions;
}

ncclDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return ncclFloat64;
    case DType::f32:
      return ncclFloat32;
    case DType::f16:
      return ncclFloat16;
    case DType::bf16:
      return ncclBfloat16;
    case DType::i32:
      return ncclInt32;
    case DType::u8:
      break;
  }
  fail(ErrorKind::usage, "ranks do not exchange u8 tensors");
}

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(Rendezvous& rendezvous, Context& context, const std::string& name);
  ~NcclCommunicator() override;

  int rank() const override { return rendezvous_.rank(); }
  int size() const override { return rendezvous_.size(); }
  void all_reduce(Context& context, TensorView values, RankReduction reduction) override;
  void reduce_scatter(Context& context, ConstTensorView parts, TensorView own,
                      RankReduction reduction) override;
  void all_gather(Context& context, ConstTensorView own, TensorView parts) override;
  void broadcast(Context& context, TensorView values, int root) override;
  void join(Context& context) override;
  Traffic traffic() const override { return traffic_; }
  std::string why_no_capture() const override { return ""; }

 private:
  void queue(Context& context, std::int64_t bytes_sent,
             const std::function<ncclResult_t(ncclComm_t, cudaStream_t)>& call);
  void settle(ncclResult_t result, const char* what, Clock::time_point late);
  void check_parts(const char* collective, ConstTensorView parts, ConstTensorView own) const;
  [[noreturn]] void fail_with(const std::string& why) const;
  void watch();
  void abort();

  Rendezvous& rendezvous_;
  OwnedStream stream_;
  Event begin_, done_;
  bool pending_ = false;
  Traffic traffic_;

  mutable std::mutex mutex_;  // guards what follows: NCCL takes one call at a time
  ncclComm_t communicator_ = nullptr;
  std::string broken_;
  std::condition_variable changed_;
  bool ending_ = false;
  std::thread thread_;
};

NcclCommunicator::NcclCommunicator(Rendezvous& rendezvous, Context& context, const std::string& name)
    : rendezvous_(rendezvous),
      stream_(context.memory(), context.device().index, OwnedStream::Kind::side),
      begin_(context.memory(), context.device().index),
      done_(context.memory(), context.device().index) {
  require(context.device().kind == DeviceKind::cuda, "NCCL's ranks have a GPU each");
  ncclUniqueId id{};
  const Clock::time_point late = Clock::now() + rendezvous.limits().join;
  if (rank() == 0) {
    settle(nccl().ncclGetUniqueId(&id), "ncclGetUniqueId", late);
    rendezvous.set("nccl/" + name, std::string(id.internal, sizeof id.internal));
  }
  const std::string told = rendezvous.get("nccl/" + name, rendezvous.limits().join);
  if (told.size() != sizeof id.internal) fail(ErrorKind::peer, "rank 0 has told no identity of NCCL's");
  std::memcpy(id.internal, told.data(), sizeof id.internal);
  context.activate();
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;  // no call waits for a rank that may be gone
  {
    const std::lock_guard lock(mutex_);
    settle(nccl().ncclCommInitRankConfig(&communicator_, size(), id, rank(), &config),
           "ncclCommInitRankConfig", late);
  }
  thread_ = std::thread([this] { watch(); });
}

NcclCommunicator::~NcclCommunicator() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  if (communicator_ == nullptr) return;
  const std::lock_guard lock(mutex_);
  try {
    rendezvous_.check();
    settle(nccl().ncclCommFinalize(communicator_), "ncclCommFinalize",
           Clock::now() + std::chrono::seconds(5));
    nccl().ncclCommDestroy(communicator_);
  } catch (const Error&) {
    abort();
  }
}

/// Ends kernels that wait for a rank which will not come.
void NcclCommunicator::abort() {
  if (communicator_ != nullptr) nccl().ncclCommAbort(std::exchange(communicator_, nullptr));
}

void NcclCommunicator::fail_with(const std::string& why) const {
  rendezvous_.check();
  fail(ErrorKind::peer, fmt::format("NCCL on {}: {}", rank_name(rank(), rendezvous_.host_of(rank())), why));
}

/// Waits until a call is done that may go on in the background. The mutex is held.
void NcclCommunicator::settle(ncclResult_t result, const char* what, Clock::time_point late) {
  while (result == ncclInProgress && communicator_ != nullptr) {
    if (const std::string line = rendezvous_.failure(); !line.empty() || Clock::now() > late) {
      abort();
      fail_with(fmt::format("{} did not end in time", what));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(100));
    const ncclResult_t asked = nccl().ncclCommGetAsyncError(communicator_, &result);
    if (asked != ncclSuccess) result = asked;
  }
  if (result == ncclSuccess) return;
  const std::string words = nccl().ncclGetLastError(communicator_);
  fail_with(
      fmt::format("{}: {}{}{}", what, nccl().ncclGetErrorString(result), words.empty() ? "" : ", ", words));
}

void NcclCommunicator::watch() {
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, std::chrono::milliseconds(100), [&] { return ending_; })) {
    if (communicator_ == nullptr) return;
    ncclResult_t state = ncclSuccess;
    if (nccl().ncclCommGetAsyncError(communicator_, &state) != ncclSuccess) state = ncclInternalError;
    const bool broken = state != ncclSuccess && state != ncclInProgress;
    if (!broken && rendezvous_.failure().empty()) continue;
    if (broken) broken_ = nccl().ncclGetErrorString(state);
    abort();
    lock.unlock();
    if (broken) rendezvous_.fail_for_all(std::string("NCCL: ") + broken_);
    return;
  }
}

void NcclCommunicator::queue(Context& context, std::int64_t bytes_sent,
                             const std::function<ncclResult_t(ncclComm_t, cudaStream_t)>& call) {
  rendezvous_.check();
  context.activate();
  begin_.record(context.stream());
  begin_.queue_wait(stream_.get());
  pending_ = true;
  const std::lock_guard lock(mutex_);
  if (communicator_ == nullptr) fail_with(broken_);
  settle(call(communicator_, static_cast<cudaStream_t>(stream_.get().handle)), "a collective",
         Clock::now() + rendezvous_.limits().hang);
  ++traffic_.collectives;
  traffic_.bytes += bytes_sent;
}

void NcclCommunicator::join(Context& context) {
  if (pending_) {
    done_.record(stream_.get());
    done_.queue_wait(context.stream());
    pending_ = false;
  }
  rendezvous_.check();
  const std::lock_guard lock(mutex_);
  if (communicator_ == nullptr) fail_with(broken_);
}

void NcclCommunicator::check_parts(const char* collective, ConstTensorView parts, ConstTensorView own) const {
  check_exchanged(collective, parts);
  if (parts.elements() != own.elements() * size() || parts.dtype != own.dtype)
    fail(ErrorKind::usage,
         fmt::format("{}: parts of {} {} elements do not fit {} ranks' {} {}", collective, parts.elements(),
                     name_of(parts.dtype), size(), own.elements(), name_of(own.dtype)));
}

ncclRedOp_t operation_of(RankReduction reduction) {
  return reduction == RankReduction::sum ? ncclSum : ncclMax;
}

void NcclCommunicator::all_reduce(Context& context, TensorView values, RankReduction reduction) {
  check_exchanged("all_reduce", values);
  const auto n = static_cast<std::size_t>(values.elements());
  if (n == 0) return;
  const auto bytes = static_cast<std::int64_t>(values.bytes());
  queue(context, 2 * (bytes - bytes / size()), [&](ncclComm_t comm, cudaStream_t stream) {
    return nccl().ncclAllReduce(values.data, values.data, n, type_of(values.dtype), operation_of(reduction),
                                comm, stream);
  });
}

void NcclCommunicator::reduce_scatter(Context& context, ConstTensorView parts, TensorView own,
                                      RankReduction reduction) {
  check_parts("reduce_scatter", parts, own);
  const auto n = static_cast<std::size_t>(own.elements());
  if (n == 0) return;
  queue(context, static_cast<std::int64_t>(own.bytes()) * (size() - 1),
        [&](ncclComm_t comm, cudaStream_t stream) {
          return nccl().ncclReduceScatter(parts.data, own.data, n, type_of(own.dtype),
                                          operation_of(reduction), comm, stream);
        });
}

void NcclCommunicator::all_gather(Context& context, ConstTensorView own, TensorView parts) {
  check_parts("all_gather", parts, own);
  const auto n = static_cast<std::size_t>(own.elements());
  if (n == 0) return;
  queue(context, static_cast<std::int64_t>(own.bytes()) * (size() - 1),
        [&](ncclComm_t comm, cudaStream_t stream) {
          return nccl().ncclAllGather(own.data, parts.data, n, type_of(own.dtype), comm, stream);
        });
}

/// A ring's broadcast ends at the rank before the root.
void NcclCommunicator::broadcast(Context& context, TensorView values, int root) {
  check_exchanged("broadcast", values);
  require(root >= 0 && root < size(), "broadcast: root is a rank");
  const auto n = static_cast<std::size_t>(values.elements());
  if (n == 0) return;
  const bool last = (rank() + 1) % size() == root;
  queue(context, last ? 0 : static_cast<std::int64_t>(values.bytes()),
        [&](ncclComm_t comm, cudaStream_t stream) {
          return nccl().ncclBroadcast(values.data, values.data, n, type_of(values.dtype), root, comm, stream);
        });
}

}  // namespace

std::string why_no_nccl() {
  return "";
}

std::unique_ptr<Communicator> make_nccl_communicator(Rendezvous& rendezvous, Context& context,
                                                     const std::string& name) {
  return std::make_unique<NcclCommunicator>(rendezvous, context, name);
}

}  // namespace zeroth
