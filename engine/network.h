#pragma once

#include "engine/tape.h"

namespace zeroth {

/// What the trainer needs of a model: its parameters, and logits from pictures.
class Network {
 public:
  Network() = default;
  virtual ~Network() = default;
  Network(const Network&) = delete;  // layers point into the store
  Network& operator=(const Network&) = delete;

  /// x: (N, H, W, C), normalised -> logits (N, classes)
  virtual Variable forward(Tape& tape, const Variable& x) = 0;

  ParameterStore& store() { return store_; }
  const ParameterStore& store() const { return store_; }

 protected:
  ParameterStore store_;
};

}  // namespace zeroth
