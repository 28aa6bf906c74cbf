#include "apps/residency.h"

#include "engine/parallel/placement.h"

namespace zeroth::app {

Residency choose_residency(const TrainOptions& options, ParameterStore& store, int rank, int ranks) {
  PlacementWish wish;
  wish.sharing = options.parallel;
  wish.offload = options.offload;
  wish.moments = options.optimizer != OptimizerKind::sgd ? 2 : options.momentum > 0.0 ? 1 : 0;
  if (options.placement == Placement::automatic)
    wish.shared_values.reset();
  else
    wish.shared_values = options.shard_fraction;
  wish.budget = options.memory_budget;
  return place_parameters(store, options.amp, rank, ranks, wish);
}

}  // namespace zeroth::app
