#pragma once

#include <functional>
#include <optional>
#include <string>

namespace zeroth {

/// A process's place among those of one training, and where they meet.
struct LaunchPlace {
  int rank = 0, size = 1;
  int local_rank = 0;    ///< among those of this machine
  int local_size = 1;    ///< ranks of this machine; 0: unknown
  std::string master;    ///< rank 0's host
  int port = 0;          ///< MASTER_PORT; the ranks meet at the next one, as torchrun's agent holds this one
  std::string launcher;  ///< "torchrun", "Open MPI", "PMI", "Slurm"
};

/// The value of an environment variable; null where it is not set.
using EnvironmentLookup = std::function<const char*(const char* name)>;

/// The place that a launcher has given this process; nothing where none has. Asked in this order:
/// RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE (torchrun, and `zeroth train --ranks`);
/// OMPI_COMM_WORLD_RANK and kin (mpirun); PMI_RANK and kin (MPICH); SLURM_PROCID and kin (srun).
/// MASTER_ADDR and MASTER_PORT say where rank 0 is. Without them: this machine where all ranks are here, the
/// first host of SLURM_NODELIST; port 29500, or by SLURM_JOB_ID. A variable that is empty counts as not set.
/// Throws Error(usage) naming the variable that is missing or cannot be.
std::optional<LaunchPlace> launch_place(const EnvironmentLookup& lookup);
/// By this process's environment.
std::optional<LaunchPlace> launch_place();

/// The first host of Slurm's notation: "node[07-09,12],gpu1" is "node07". Throws Error(usage) for what is
/// none.
std::string first_slurm_host(const std::string& list);

}  // namespace zeroth
