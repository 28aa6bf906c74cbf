#pragma once

#include <string>

#include "kernels/core/device.h"

namespace zeroth::cuda_native {

/// Why no CUDA device can be used (no driver, a driver that is too old, no GPU), and what to do; empty where
/// one can.
std::string why_unavailable();

/// Why one device cannot be used; empty where it can.
std::string why_unusable(int device_index);

/// Bytes that are free on a device now. Throws Error(device) where it is not there.
std::size_t free_bytes(int device_index);

/// Throws Error(device) where CUDA is not there: in this build, or on this machine.
const DeviceBackend& device_backend();

}  // namespace zeroth::cuda_native
