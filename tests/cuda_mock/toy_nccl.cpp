// NCCL for one rank on the mock runtime: opened as the program opens NCCL.
#include "tests/cuda_mock/toy_nccl.h"

struct ncclComm {
  int polls;
};

namespace {

ToyNccl toy;

std::size_t size_of(ncclDataType_t type) {
  return type == ncclFloat64 ? 8 : type == ncclFloat16 || type == ncclBfloat16 ? 2 : 4;
}

ncclResult_t copy(const void* from, void* to, std::size_t count, ncclDataType_t type, cudaStream_t stream) {
  const cudaError_t status = toy.copy(to, from, count * size_of(type), cudaMemcpyDeviceToDevice, stream);
  return status == cudaSuccess ? ncclSuccess : ncclInternalError;
}

}  // namespace

extern "C" {

ToyNccl* toy_nccl() {
  return &toy;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  for (char& letter : id->internal) letter = 'i';
  return ncclSuccess;
}
ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  toy.blocking = config->blocking;
  if (ranks != 1 || rank != 0 || id.internal[127] != 'i') return ncclInternalError;
  *comm = new ncclComm{toy.polls_until_ready};
  return toy.polls_until_ready == 0 ? ncclSuccess : ncclInProgress;
}
ncclResult_t ncclCommFinalize(ncclComm_t) {
  ++toy.finalized;
  return ncclSuccess;
}
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  ++toy.destroyed;
  delete comm;
  return ncclSuccess;
}
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  ++toy.aborted;
  delete comm;
  return ncclSuccess;
}
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
  *error = comm->polls == 0 ? toy.error.load() : ncclInProgress;
  if (comm->polls > 0) --comm->polls;
  return ncclSuccess;
}
const char* ncclGetErrorString(ncclResult_t result) {
  return result == ncclRemoteError ? "remote process exited" : "internal error";
}
const char* ncclGetLastError(ncclComm_t) {
  return "";
}
ncclResult_t ncclAllReduce(const void* from, void* to, std::size_t count, ncclDataType_t type, ncclRedOp_t,
                           ncclComm_t, cudaStream_t stream) {
  return copy(from, to, count, type, stream);
}
ncclResult_t ncclReduceScatter(const void* from, void* to, std::size_t count, ncclDataType_t type,
                               ncclRedOp_t, ncclComm_t, cudaStream_t stream) {
  return copy(from, to, count, type, stream);
}
ncclResult_t ncclAllGather(const void* from, void* to, std::size_t count, ncclDataType_t type, ncclComm_t,
                           cudaStream_t stream) {
  return copy(from, to, count, type, stream);
}
ncclResult_t ncclBroadcast(const void* from, void* to, std::size_t count, ncclDataType_t type, int,
                           ncclComm_t, cudaStream_t stream) {
  return copy(from, to, count, type, stream);
}
}
