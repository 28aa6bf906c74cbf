#pragma once

#include "apps/options.h"
#include "apps/resolve.h"

namespace zeroth::app {

/// Starts this program again, with the same command line, as `options.ranks` ranks on this machine, and waits
/// for them. Rank 0 has this process's output; what the others say to stderr is marked with their rank.
/// SIGINT and SIGTERM are passed on, and the ranks die with this process. Where one fails, the others end by
/// themselves, or are ended; after a failure that another attempt may not meet again, all are started from
/// the last checkpoint, up to
/// --max-restarts times. Returns the exit code: that of the rank that failed first. Call before any thread
/// exists.
int launch_ranks(const Said& said, const TrainOptions& options);

/// For rank 0 of such a launch: the socket on which it serves the others, taken over from the launcher; -1
/// where there is none.
int inherited_listener();

}  // namespace zeroth::app
