#pragma once

// The one place that knows which compiler reads a shared header: nvcc marks functions for both sides, a host
// compiler needs no marks.
#ifdef __CUDACC__
#define ZEROTH_HD __host__ __device__
#else
#define ZEROTH_HD
#endif
