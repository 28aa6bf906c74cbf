#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/parallel/communicator.h"

namespace zeroth {

/// Ranks inside one process, on one device: a thread and a Context each. They meet on the host in every
/// collective and use each other's memory, so that one machine, or one GPU, checks the arithmetic that
/// several would do. Nothing overlaps, and nothing can be captured.
class Replicas {
 public:
  /// A rank that waits longer than `timeout_seconds` for another one throws Error(peer).
  explicit Replicas(int size, double timeout_seconds = 60.0);
  ~Replicas();
  Replicas(const Replicas&) = delete;
  Replicas& operator=(const Replicas&) = delete;

  /// Used by one thread. Valid as long as this is.
  Communicator& rank(int rank);
  /// The rank takes part no more: the others throw Error(peer) with `why` instead of waiting for it.
  void leave(int rank, const std::string& why);

 private:
  class Rank;
  struct Meeting;
  std::unique_ptr<Meeting> meeting_;
  std::vector<std::unique_ptr<Rank>> ranks_;
};

/// Runs `work` for every rank, each in a thread of its own with as many of the CPU's threads as there are for
/// one, and waits for all. Where some throw, the first failure that is not about another rank is thrown
/// again.
void run_replicas(int size, const std::function<void(Communicator&)>& work, double timeout_seconds = 60.0);

}  // namespace zeroth
