#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/parameters.h"

namespace zeroth {

/// Bytes that a training keeps for its parameters on one rank; activations and pictures come on top.
struct StateBytes {
  std::int64_t values = 0;     ///< what operations read
  std::int64_t gradients = 0;  ///< own parts, and the chunks that are open at one time
  std::int64_t optimizer = 0;  ///< moments, and the values that it updates where they are not those above
  std::int64_t on_host = 0;    ///< offloaded
  std::int64_t on_device() const { return values + gradients + optimizer; }
};

/// Of a store that has been laid out, with an optimizer of so many moments.
StateBytes state_bytes(const ParameterStore& store, int moments);

struct PlacementWish {
  Sharing sharing = Sharing::nothing;
  Offload offload = Offload::nothing;
  int moments = 1;
  /// With Sharing::values: the fraction of the chunks of weights that ranks share; unset: the smallest that
  /// keeps within the budget.
  std::optional<double> shared_values = 1.0;
  std::optional<std::int64_t> budget;       ///< bytes on the device
  std::optional<std::int64_t> chunk_bytes;  ///< unset: chosen by the size of the network
};

/// What a rank is to hold of a store that has not been materialised, which stays laid out so. Throws
/// Error(usage), saying what it would take, where that is more than the budget.
Residency place_parameters(ParameterStore& store, DType working, int rank, int ranks,
                           const PlacementWish& wish);

}  // namespace zeroth
