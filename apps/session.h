#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apps/options.h"
#include "apps/run_folder.h"
#include "data/dataset.h"
#include "engine/trainer.h"
#include "models/resnet.h"

namespace zeroth::app {

/// A data set and lines for people: that they did not ask for it, what of it was passed over.
struct ChosenData {
  Dataset dataset;
  std::vector<std::string> notices;
};

/// The set that --data names; where it names none, CIFAR-10 if it is found, else the generated set. Throws
/// Error(data) for a named one that is not there or damaged.
ChosenData choose_data(const TrainOptions& options);

/// "cifar10", "cifar10 (unofficial)", "generated": how outputs call the set.
std::string label_of(const Dataset& dataset);

/// The device of that name; "auto" is the first GPU, where there is one, else the CPU. Throws Error(usage,
/// device).
Device choose_device(const std::string& name);

/// A context on the chosen device with the chosen threads and implementations. Throws Error(usage) for an
/// operation or row that there is not.
std::unique_ptr<Context> make_context(const TrainOptions& options);

/// Lets libraries take the fastest of their plans (--cudnn-plans), which are remembered in the run's folder,
/// unless `run` is null, and in the user's cache.
void time_plans(Context& context, const TrainOptions& options, const RunFolder* run);

/// What a network is shown, and how many classes it knows; CIFAR-10's where nothing else is said.
struct PictureKind {
  std::int64_t classes = 10, height = 32, width = 32, channels = 3;
};

/// The network for such pictures, its parameters initialised from the seed: all of it, or what --parallel and
/// --offload leave with one of several ranks.
std::unique_ptr<Model> make_network(Context& context, const TrainOptions& options,
                                    const PictureKind& pictures, int rank = 0, int ranks = 1);

/// The same without parameters in memory: for its layer table and counts.
std::unique_ptr<Model> declare_network(const TrainOptions& options, const PictureKind& pictures = {});

bool is_resnet(const std::string& model);
/// Throws Error(usage) for another model.
ResNetConfig network_config(const TrainOptions& options);

PictureSet upload(Context& context, const Pictures& pictures, std::int64_t classes);

/// How many buffers of the parameters' size the optimizer keeps.
int moments_of(const TrainOptions& options);

/// --lr, times the number of ranks where --scale-lr asks for it.
double scaled_lr(const TrainOptions& options);

TrainerConfig trainer_config(const TrainOptions& options, const Normalisation& normalisation);

/// By --normalize's value: the constants of a data set or those it spells out, for "none" mean 0 and
/// deviation
/// 1. Errors: usage, for pictures of another number of channels.
Normalisation normalisation_for(const std::string& name, std::int64_t channels);

/// FLOPs of one training step's forward and backward for one picture: both gradients of each product cost as
/// much as the product.
double training_flops(const Model& network);

/// "1 epoch", "2 epochs"
std::string count_of(std::int64_t count, const std::string& what);

/// "17.55 %"
std::string percent(double fraction);

}  // namespace zeroth::app
