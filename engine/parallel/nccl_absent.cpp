#include "engine/parallel/nccl_communicator.h"

// Stands in for nccl_communicator.cpp in builds without CUDA or NCCL.

namespace zeroth {

std::string why_no_nccl() {
  return "this build has no NCCL, which carries ranks on GPUs: install CUDA and libnccl-dev, and build again";
}

std::unique_ptr<Communicator> make_nccl_communicator(Rendezvous&, Context&, const std::string&) {
  fail(ErrorKind::device, why_no_nccl());
}

}  // namespace zeroth
