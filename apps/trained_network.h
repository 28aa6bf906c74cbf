#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apps/checkpoint_info.h"
#include "apps/resolve.h"
#include "data/dataset.h"
#include "engine/safetensors.h"
#include "engine/trainer.h"
#include "models/model.h"

namespace zeroth::app {

/// A network as a checkpoint holds it, ready to be evaluated, asked or exported here.
class TrainedNetwork {
 public:
  /// The settings that the machine at hand decides, as flags of a command; with those that choose the data.
  static std::vector<std::string> settings(bool with_data);

  /// What the checkpoint says of its training holds, but for --weights and the machine's settings, which are
  /// those that were said, and the data, which may have been said, too. Throws Error(data) where the file is
  /// no intact checkpoint, Error(usage, device) for what was said.
  TrainedNetwork(const SafetensorsFile& checkpoint, const Said& said);

  /// Takes the weights of another checkpoint of the same training. Throws Error(data) where it is none.
  void load(const SafetensorsFile& checkpoint);

  /// On a data set's test half, which must have the classes and the shape of the pictures of the training,
  /// else Error(data).
  Evaluation evaluate(const Dataset& dataset);

  Context& context() { return *context_; }
  Model& network() { return *network_; }
  const TrainOptions& options() const { return options_; }
  const CheckpointInfo& info() const { return info_; }
  Normalisation normalisation() const;

  /// Whether the weights are a moving average of the training's, as --weights has it by default.
  bool averaged() const { return averaged_; }

 private:
  void load_tensors(const SafetensorsFile& checkpoint);

  std::string path_;
  CheckpointInfo info_;
  TrainOptions options_;
  std::unique_ptr<Context> context_;
  std::unique_ptr<Model> network_;
  bool averages_said_ = false, averaged_ = false;
  PictureSet test_;
  const Dataset* uploaded_ = nullptr;
};

}  // namespace zeroth::app
