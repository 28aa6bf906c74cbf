#pragma once

#include <memory>
#include <string>

#include "engine/parallel/communicator.h"
#include "engine/parallel/rendezvous.h"

namespace zeroth {

/// Empty where this build can use NCCL; else what is missing, and what to do. Whether the library is there
/// shows when it is first used.
std::string why_no_nccl();

/// Ranks with a GPU each, through NCCL. Collectives run on a stream of their own, beside the context's, and
/// can be captured with the step. Sums are NCCL's: taken in the order of its algorithm, in the operands'
/// dtype, so their last bits depend on how operands are cut; NCCL_ALGO=Ring keeps the algorithm. Where a rank
/// fails, the communicator is aborted, so that no kernel waits for it. NCCL's own variables (NCCL_MAX_CTAS,
/// NCCL_SOCKET_IFNAME) are its user's.
///
/// Several may stand beside one another, each with a name. Call on all ranks; each waits for the others.
/// Throws Error(device) where there is no NCCL, Error(peer) where the ranks cannot reach one another. The
/// rendezvous outlives it.
std::unique_ptr<Communicator> make_nccl_communicator(Rendezvous& rendezvous, Context& context,
                                                     const std::string& name = "gradients");

}  // namespace zeroth
