#pragma once

#include <cstdint>
#include <string>

#include "kernels/core/context.h"

namespace zeroth {

enum class RankReduction : std::uint8_t { sum, max };

/// What this rank has sent to others since the communicator was made: what a ring needs for the same
/// collectives (Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms", 2009), which no algorithm
/// undercuts.
struct Traffic {
  std::int64_t collectives = 0, bytes = 0;
};

/// A fixed group of ranks, each with a Context of its own, that exchange device memory. Collectives are
/// queued: each runs after what the context's stream was given before, beside what it is given later, in the
/// order in which they were queued, which is the same on every rank. Until join(), their operands belong to
/// them. All ranks get the same bits, whatever the strategy cuts its ranges into: an element's sum is taken
/// in rank order in f32 (f64 for f64), and rounded once to its dtype.
///
/// Tensors are f64, f32, bf16, f16 or i32. Errors: usage for operands that do not fit; peer, naming rank and
/// host, where another rank has died, hangs, or has left.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// Every rank's `values` become their reduction over ranks. (n)
  virtual void all_reduce(Context& context, TensorView values, RankReduction reduction) = 0;
  /// `own` (n) becomes part `rank()` of the reduction of all ranks' `parts` (size() * n). It may lie in its
  /// place within `parts`.
  virtual void reduce_scatter(Context& context, ConstTensorView parts, TensorView own,
                              RankReduction reduction) = 0;
  /// Part r of `parts` (size() * n) becomes rank r's `own` (n), which may lie in its place within `parts`.
  virtual void all_gather(Context& context, ConstTensorView own, TensorView parts) = 0;
  /// Every rank's `values` become those of rank `root`.
  virtual void broadcast(Context& context, TensorView values, int root) = 0;
  /// Later work of the context's stream waits for the collectives queued so far. On devices whose work is
  /// done when a call returns, this call waits.
  virtual void join(Context& context) = 0;

  virtual Traffic traffic() const = 0;
  /// Empty where collectives can be captured with the step; else why not.
  virtual std::string why_no_capture() const = 0;
};

}  // namespace zeroth
