#pragma once

#include <memory>
#include <string>

#include "engine/parallel/communicator.h"
#include "engine/parallel/rendezvous.h"

namespace zeroth {

/// Empty where this build has Gloo; else what is missing, and what to do.
std::string why_no_gloo();

/// Ranks that exchange host memory (devices cpu and simt) over TCP by Gloo's collectives. Sums are taken by
/// us: each rank gets everybody's values of its own share (Gloo's alltoallv), adds them in rank order, and
/// hands the result round (Gloo's allgatherv), which moves the bytes of a ring. A thread of its own does
/// that, beside what the caller computes meanwhile. GLOO_SOCKET_IFNAME names the network interface where the
/// one that reaches rank 0 is the wrong one.
///
/// Several may stand beside one another, each with a name. Call on all ranks; each waits for the others.
/// Throws Error(device) where there is no Gloo, Error(peer) where the ranks cannot reach one another. The
/// rendezvous outlives it.
std::unique_ptr<Communicator> make_gloo_communicator(Rendezvous& rendezvous,
                                                     const std::string& name = "gradients");

}  // namespace zeroth
