#include "apps/trained_network.h"

#include <fmt/format.h>

#include "apps/session.h"
#include "engine/checkpoint.h"
#include "kernels/core/error.h"

namespace zeroth::app {

namespace {

TrainOptions options_here(const CheckpointInfo& info, const std::string& path, const Said& said) {
  TrainOptions options = trained_options(info.config, path);
  // What a machine decides is this one's matter, not that of the one that trained.
  const TrainOptions machine;
  options.threads = machine.threads;
  options.deterministic = machine.deterministic;
  options.tf32 = machine.tf32;
  options.cudnn_plans = machine.cudnn_plans;
  options.impl = machine.impl;
  for (const auto* layer : {&said.environment, &said.command_line})
    for (const Assignment& assignment : *layer) assign(options, assignment);
  return options;
}

}  // namespace

std::vector<std::string> TrainedNetwork::settings(bool with_data) {
  std::vector<std::string> keys{"device", "threads", "deterministic", "tf32", "sync_launches",
                                "impl",   "weights", "tta",           "quiet"};
  if (with_data) keys.insert(keys.begin(), "data");
  return keys;
}

TrainedNetwork::TrainedNetwork(const SafetensorsFile& checkpoint, const Said& said)
    : path_(checkpoint.path().string()),
      info_(checkpoint_info(checkpoint)),
      options_(options_here(info_, path_, said)),
      context_(make_context(options_)),
      network_(make_network(*context_, options_, {info_.classes, info_.height, info_.width, info_.channels})),
      averages_said_(last_said(said, "weights") != nullptr && options_.averaged_weights) {
  time_plans(*context_, options_, nullptr);
  load_tensors(checkpoint);
}

void TrainedNetwork::load_tensors(const SafetensorsFile& checkpoint) {
  const std::string averages = averages_in(checkpoint, *network_);
  if (averages_said_ && averages.empty())
    fail(ErrorKind::data,
         fmt::format("{} holds no averaged weights: it was trained with neither --ema nor --lookahead",
                     path_));
  averaged_ = options_.averaged_weights && !averages.empty();
  load_weights(*context_, checkpoint, *network_, averaged_ ? averages : "");
}

void TrainedNetwork::load(const SafetensorsFile& checkpoint) {
  const CheckpointInfo info = checkpoint_info(checkpoint);
  path_ = checkpoint.path().string();
  load_tensors(checkpoint);
  info_ = info;
}

Normalisation TrainedNetwork::normalisation() const {
  return normalisation_for(options_.normalize, info_.channels);
}

Evaluation TrainedNetwork::evaluate(const Dataset& dataset) {
  const Pictures& test = dataset.test;
  if (dataset.classes() != info_.classes || test.height != info_.height || test.width != info_.width ||
      test.channels != info_.channels)
    fail(ErrorKind::data,
         fmt::format("{} was trained on {} classes of {} x {} x {} pictures; {} has {} of {} x {} x {}",
                     path_, info_.classes, info_.height, info_.width, info_.channels, label_of(dataset),
                     dataset.classes(), test.height, test.width, test.channels));
  if (uploaded_ != &dataset) test_ = upload(*context_, test, info_.classes);
  uploaded_ = &dataset;
  return zeroth::evaluate(*context_, *network_, test_, trainer_config(options_, normalisation()), {},
                          options_.tta);
}

}  // namespace zeroth::app
