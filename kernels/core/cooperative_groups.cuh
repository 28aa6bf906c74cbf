#pragma once

// Cooperative groups, from CUDA or, on the host, the part of them that kernels/simt knows: thread blocks,
// grids without sync(), tiles of up to 32 threads, and reduce() over tiles.

#include "kernels/core/launch.cuh"

#ifdef __CUDACC__
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#else
#include "kernels/simt/cooperative_groups.h"
#endif
