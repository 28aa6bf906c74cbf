#pragma once

namespace zeroth {

/// Opens and closes a range of the profiler that listens to this process, if any: NVTX, where CUDA is part of
/// the build.
void push_profiler_range(const char* name);
void pop_profiler_range();

}  // namespace zeroth
