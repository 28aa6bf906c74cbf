#pragma once

#include "engine/parallel/communicator.h"
#include "kernels/batch_norm/rank_group.h"

namespace zeroth {

/// All ranks of a communicator as the group of synchronised batch norm. Its exchanges wait for whatever was
/// queued on the communicator before: where gradients are to be reduced beside backward, it has a
/// communicator of its own.
class BatchNormRanks final : public RankGroup {
 public:
  /// The communicator outlives this.
  explicit BatchNormRanks(Communicator& communicator) : communicator_(communicator) {}
  int rank() const override { return communicator_.rank(); }
  int size() const override { return communicator_.size(); }
  void gather(Context& context, ConstTensorView own, TensorView all) const override {
    ConstTensorView flat_own = own;
    flat_own.shape = {own.elements()};
    all.shape = {all.elements()};
    communicator_.all_gather(context, flat_own, all);
    communicator_.join(context);
  }

 private:
  Communicator& communicator_;
};

}  // namespace zeroth
