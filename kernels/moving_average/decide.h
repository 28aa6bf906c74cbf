#pragma once

// The step's one decision, which host and device share.

#include <cstdint>

#include "kernels/core/host_device.h"
#include "kernels/moving_average/moving_average.h"

namespace zeroth {

/// The share that this step takes of the values, or -1 where it changes nothing. T: float or double.
template <class T>
ZEROTH_HD inline T share_of_step(std::int64_t every, bool warm_up, T share, const std::int32_t* updates,
                                 const T* gradient_factor) {
  if (gradient_factor != nullptr && *gradient_factor < T{0}) return T{-1};
  if (updates == nullptr) return share;
  if (*updates % every != 0) return T{-1};
  const T least = T{9} / (T{9} + static_cast<T>(*updates));
  return warm_up && share < least ? least : share;
}

}  // namespace zeroth
