#pragma once

#include <vector>

#include "kernels/core/context.h"

namespace zeroth {

/// Ranks that hold parts of one batch, as many rows each, and normalise over all of it: synchronised batch
/// norm. All make the same calls in the same order.
class RankGroup {
 public:
  virtual ~RankGroup() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// `all` (size(), 2, C) f64 gets every rank's `own` (2, C), in rank order, before what the context's stream
  /// is given next. `own` lies in its place in `all`. Throws Error(peer).
  virtual void gather(Context& context, ConstTensorView own, TensorView all) const = 0;
};

/// For rows that work on the host at once: every rank's `own` (2, C), one after the other; `own` itself
/// without a group.
std::vector<double> gather_on_host(Context& context, const RankGroup* group, std::vector<double> own);

}  // namespace zeroth
