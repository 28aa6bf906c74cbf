#pragma once

// CUDA's language for .cu files that a host compiler compiles. A kernel's threads run as fibers on the
// calling OS thread, one block after the other; the fibers switch only at barriers and warp collectives.
//
// What is checked, always: divergent barriers, warp collectives that lanes leave out or meet elsewhere,
// launch limits, shared memory limits, writes past a shared array (when the block ends). With
// ZEROTH_SANITIZE=address: every access out of bounds and every read of shared memory that was not written,
// with its line. With ZEROTH_SANITIZE=thread: both lines of a missing barrier. What is not there: clusters,
// TMA, wgmma, textures, launches from kernels, and progress guarantees between blocks.

#include "kernels/simt/atomics.h"
#include "kernels/simt/intrinsics.h"
#include "kernels/simt/language.h"
#include "kernels/simt/launch.h"
#include "kernels/simt/runtime.h"
#include "kernels/simt/vector_types.h"
#include "kernels/simt/warp.h"
