#pragma once

// What a .cu file includes: CUDA's language, from nvcc or, on the host, from kernels/simt. A .cu file
//   - opens `namespace zeroth::ZEROTH_NATIVE`, because the same source is compiled twice into one program;
//   - starts kernels with launch(kernel, grid, block, dynamic_shared_bytes, stream, arguments...);
//   - declares shared memory with ZEROTH_SHARED(float, tile, [32][33]) or takes dynamic_shared<float>().
// All else is plain CUDA C++.

#include "kernels/core/device.h"
#include "kernels/core/half.h"
#include "kernels/core/host_device.h"

#ifdef __CUDACC__
#include "kernels/core/launch_cuda.cuh"
#define ZEROTH_NATIVE cuda_native
#else
#include "kernels/simt/simt.h"
#define ZEROTH_NATIVE simt_native
#endif
