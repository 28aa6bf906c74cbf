#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/parallel/communicator.h"
#include "engine/parameters.h"

namespace zeroth {

/// Several ranks train one network, each on its own part of every batch (docs/parallel.md). The gradient of a
/// chunk of parameters (parameters.h) is summed over ranks as soon as backward has finished with it, while
/// backward goes on. What a rank then holds follows from the store's Sharing:
///   nothing          every gradient, and updates everything                                          (ddp)
///   optimizer_state  the sums of its own parts, updates those, and gets the others' values          (zero1)
///   gradients        the same, and of gradients only its own parts and the open chunk's             (zero2)
///   values           the same, and values of a chunk only while operations read them               (gemini)
/// One step is begin_step(), forward and backward, join_gradients(), the update, share_values(). All ranks do
/// the same in the same order, evaluations included where values are shared.
class DataParallel final : public ParameterHome {
 public:
  /// The store has been materialised with the communicator's rank and size. It and the communicator outlive
  /// this.
  DataParallel(Context& context, ParameterStore& store, Communicator& communicator);
  ~DataParallel() override;
  DataParallel(const DataParallel&) = delete;
  DataParallel& operator=(const DataParallel&) = delete;

  Tensor value(Parameter& parameter) override;
  Tensor gradient(Parameter& parameter) override;
  void finished(Parameter& parameter) override;

  void begin_step();
  /// After backward: the optimizer's gradients are those of the common batch.
  void join_gradients();
  /// After the update.
  void share_values();

  /// Values that evaluations have gathered, before a step changes them.
  void release_values();

  /// All elements, in the order of parameters, of a buffer laid out as the flat ones of the store are. Every
  /// rank gets them. Waits for the stream.
  template <class T>
  std::vector<T> gather(const Tensor& own);

  Communicator& communicator() { return communicator_; }
  /// Bytes of values copied to the device from where they are offloaded.
  std::int64_t bytes_to_device() const { return bytes_to_device_; }
  /// Empty where the steps between begin_step() and join_gradients() can be captured; else why not.
  std::string why_no_capture() const;

 private:
  /// How far a chunk has come in the step.
  struct Progress {
    std::vector<Parameter*> unfinished;  // whose gradients are not final
    bool reduced = false;                // its collective has been queued
    bool gathering = false;              // its values are on their way
  };

  Sharing sharing() const { return store_.residency().sharing; }
  bool releases_gradients() const { return sharing() >= Sharing::gradients; }
  Tensor part_of(const Tensor& flat, const Chunk& chunk) const;
  Tensor own_values(const Chunk& chunk);
  void upload(const Tensor& from, const Tensor& to);
  void gather_values(std::size_t index);
  void wait_for_values();
  void keep_around(std::size_t index);
  void open(Chunk& chunk);
  static Tensor gradient_in(const Chunk& chunk, const Parameter& parameter);
  void reduce(std::size_t index);
  void release_reduced();

  Context& context_;
  ParameterStore& store_;
  Communicator& communicator_;
  std::vector<Progress> progress_;        // of each chunk
  std::optional<std::size_t> in_flight_;  // the chunk whose gradients are on their way, and released then
  bool backwards_ = false;
  std::vector<Tensor> on_their_way_;  // own values that a collective reads
  std::int64_t bytes_to_device_ = 0;
};

}  // namespace zeroth
