#pragma once

#include <cstddef>
#include <filesystem>

#include "kernels/core/device.h"

namespace zeroth {

/// Bytes that this process could still get on the host: the least of what the kernel holds available (free
/// and quickly freed memory, and swap), what is left of the limits of its control groups, and of its address
/// space (RLIMIT_AS). What cannot be read does not limit. `root` is where /proc and /sys lie.
std::size_t free_host_memory(const std::filesystem::path& root = "/");

/// Bytes that are free on a device now; on cpu and simt the host's.
std::size_t free_memory(Device device);

}  // namespace zeroth
