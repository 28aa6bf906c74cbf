#pragma once

#include <string>
#include <vector>

#include "engine/network.h"
#include "engine/trainer.h"

namespace zeroth {

/// One line of a model's layer table, for one picture.
struct LayerInfo {
  std::string name, kind;
  Shape output;  // (H, W, C) or (C)
  std::int64_t parameters = 0;
  std::int64_t multiply_adds = 0;   // convolutions and linear layers
  std::int64_t saved_elements = 0;  // activations that backward reads, for one picture
};

/// A network with a name that knows its layers.
class Model : public Network {
 public:
  virtual const std::string& name() const = 0;
  virtual std::vector<LayerInfo> layers() const = 0;
  /// Sets the weights that follow from training pictures. Before the first step of a new training, after
  /// store().materialise(); most models have none. Of the configuration, only mean and std count.
  virtual void initialise_from(Context&, const PictureSet&, const TrainerConfig&) {}

  std::int64_t multiply_adds() const {
    std::int64_t total = 0;
    for (const LayerInfo& layer : layers()) total += layer.multiply_adds;
    return total;
  }
};

}  // namespace zeroth
