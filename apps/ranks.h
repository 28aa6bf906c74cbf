#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "apps/options.h"
#include "apps/resolve.h"
#include "engine/parallel/batch_norm_ranks.h"
#include "engine/parallel/communicator.h"
#include "engine/parallel/launch_environment.h"
#include "engine/parallel/rendezvous.h"
#include "engine/safetensors.h"
#include "engine/trainer.h"

namespace zeroth::app {

/// Throws Error(device), with what to do, where this build has no collectives for ranks on a device of that
/// name. Asks no device: it is called before any library may start threads.
void check_collectives(const std::string& device);

/// This process as one of those that train together. Rank 0 leads: it alone reads and writes the run folder,
/// and talks. Once they have met, the failure of one ends this process with exit code 5 and one line that
/// names it: a rank that waits for the others could not be reached otherwise. Checkpoints are replaced as a
/// whole, so the last one stays.
class Ranks {
 public:
  /// Meets the others. Throws Error(peer, usage).
  Ranks(const LaunchPlace& place, const TrainOptions& options);

  int rank() const { return rendezvous_.rank(); }
  int size() const { return rendezvous_.size(); }
  bool leads() const { return rank() == 0; }
  /// How many ranks this machine has, and which of them this one is.
  int local_size() const { return local_size_; }
  int local_rank() const { return local_rank_; }
  const LaunchPlace& place() const { return place_; }
  Rendezvous& rendezvous() { return rendezvous_; }

  /// "cuda" and "auto" are each rank's own GPU. Throws Error(usage, device).
  std::string device_for(const std::string& wanted) const;
  /// The part of the machine's threads for one of its ranks, at least one.
  int threads() const;

  /// Throws Error(usage), naming this rank and what differs, unless it was started with rank 0's settings, of
  /// the same program, on the same pictures. Returns once all have compared.
  void compare(const TrainOptions& options, std::uint64_t data_hash);
  /// What collectives go through, on this device. All ranks call it.
  void connect(Context& context, const TrainOptions& options);
  Communicator& communicator() { return *communicator_; }
  /// All ranks where they normalise together; else null.
  const RankGroup* batch_norm_group() const { return batch_norm_ ? &*batch_norm_ : nullptr; }
  /// Ends what is under way.
  void disconnect() {
    communicator_.reset();
    of_batch_norm_.reset();
  }
  /// All ranks' tensors become rank 0's.
  void share(Context& context, std::span<const NamedTensor> tensors);
  /// All ranks take the state of the checkpoint that rank 0 has read; elsewhere `file` is null.
  void load_state(Context& context, Trainer& trainer, const SafetensorsFile* file, std::int64_t steps);
  /// Trainer::evaluate on rank 0's running statistics, each rank on its share of the pictures; all get the
  /// whole.
  Evaluation evaluate(Context& context, Network& network, Trainer& trainer, const PictureSet& set,
                      std::span<const std::int32_t> indices, TestViews views);

  /// After the step number `done`: 0, or the signal for which all ranks end here. `received` is what came to
  /// this process.
  int stop_before(std::int64_t done, int received);
  /// All have done their work.
  void leave_together();
  /// Tells the others that this rank ends, unless all do for the same reason.
  void fail(const Error& error) noexcept;

 private:
  std::string name() const { return rank_name(rank(), rendezvous_.host_of(rank())); }

  LaunchPlace place_;
  Rendezvous rendezvous_;
  int local_size_ = 0, local_rank_ = 0;
  bool asked_ = false;
  // Gradients are on their way while batch norm exchanges, so each has its own.
  std::unique_ptr<Communicator> communicator_, of_batch_norm_;
  std::optional<BatchNormRanks> batch_norm_;
};

}  // namespace zeroth::app
