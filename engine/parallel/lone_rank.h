#pragma once

#include "engine/parallel/communicator.h"

namespace zeroth {

/// A rank without others. What collectives leave to do for one is queued on the stream, and can be captured.
class LoneRank final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void all_reduce(Context&, TensorView, RankReduction) override {}
  void reduce_scatter(Context& context, ConstTensorView parts, TensorView own, RankReduction) override {
    copy(context, parts, own);
  }
  void all_gather(Context& context, ConstTensorView own, TensorView parts) override {
    copy(context, own, parts);
  }
  void broadcast(Context&, TensorView, int) override {}
  void join(Context&) override {}
  Traffic traffic() const override { return {}; }
  std::string why_no_capture() const override { return ""; }

 private:
  static void copy(Context& context, ConstTensorView from, TensorView to) {
    if (from.data != to.data)
      context.memory().copy_on_device(to.data, from.data, from.bytes(), context.stream());
  }
};

}  // namespace zeroth
