#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <typeindex>
#include <unordered_map>
#include <vector>

#include "kernels/core/allocator.h"
#include "kernels/core/device.h"
#include "kernels/core/device_resources.h"
#include "kernels/core/plan_choice.h"
#include "kernels/core/staging_ring.h"
#include "kernels/core/tensor_view.h"

namespace zeroth {

/// Everything a kernel call may need besides its operands: device, stream, allocator, scratch memory, library
/// handles and the chosen implementations. The first argument everywhere; there are no globals. One Context
/// belongs to one thread. Destroy tensors before the Context they came from.
class Context {
 public:
  explicit Context(Device device);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  Device device() const { return device_; }
  /// The stream that calls queue on: inside fork() that of the work beside it.
  Stream stream() const { return beside_ ? side_->stream.get() : stream_.get(); }
  Allocator& allocator() { return *allocator_; }
  const DeviceBackend& memory() const { return *backend_; }
  void synchronize() const { backend_->synchronize(stream()); }
  /// Whether what is queued is being captured (device.h) instead of run.
  bool capturing() const { return backend_->is_capturing(stream()); }
  /// Makes this context's device current for this thread.
  void activate() const { backend_->activate(device_.index); }
  /// For finding faults: wait after every piece of work, so that an error names the kernel that caused it.
  void set_sync_launches(bool synchronous) {
    stream_.set_synchronous(synchronous);
    ++settings_;
  }
  /// Whether rows may round the factors of f32 products to TF32, 10 bits of mantissa, for tensor cores. Off
  /// at first.
  bool tf32() const { return tf32_; }
  void allow_tf32(bool allowed) {
    tf32_ = allowed;
    ++settings_;
  }
  /// Lets libraries take the fastest of their plans for a problem, timed where a problem is first met,
  /// instead of the one they hold to be best, which is what they do without a record: nullptr, as at first. A
  /// choice in the record is taken as it is.
  void time_plans(std::shared_ptr<PlanRecord> record) {
    plan_record_ = std::move(record);
    ++settings_;
  }
  PlanRecord* plan_record() const { return plan_record_.get(); }
  /// Grows with every setting that changes what calls queue: work captured before is not what would be queued
  /// now.
  std::uint64_t settings() const { return settings_; }

  /// Whether fork() queues on a stream of its own. On at first on cuda. With --sync-launches it does not, so
  /// that work is in one order.
  bool forks() const { return forks_ && !stream_.get().synchronous; }
  void set_forks(bool forks) {
    forks_ = forks;
    ++settings_;
  }
  /// Calls `queue`, whose work runs beside what the stream gets from now on: after what was queued before,
  /// and before what follows the next join(), which a second fork() implies. Until then that work's operands
  /// belong to it: nobody frees or writes them, or reads what it writes. scratch() is its own inside. On the
  /// stream itself unless forks().
  template <class Queue>
  void fork(Queue&& queue) {
    const Beside beside(*this);
    queue();
  }
  /// Later work of the stream waits for what was forked.
  void join();

  /// Queues a copy of a small host value to device memory; `from` may change as soon as the call returns.
  /// Waits only when very many are on their way (staging_ring.h). Throws Error(usage) unless the sizes are
  /// equal.
  void upload(TensorView to, std::span<const std::byte> from);

  /// Scratch memory of at least `bytes`, valid until the next call of scratch() on this context.
  Workspace scratch(std::size_t bytes);
  /// Keeps the scratch memory that there is now for as long as the result lives, also when it grows and
  /// moves: for captured work, which knows its address.
  std::shared_ptr<const void> hold_scratch() const;

  /// Takes "operation=row", or "operation=row+row": the first one that takes a problem. Later calls override
  /// earlier ones. Throws Error(usage) when it is not of that form. Whether operation and rows exist is
  /// checked by check_implementations() in kernels/operations.h.
  void choose_implementation(const std::string& assignment);
  /// Names of rows, in order of preference.
  using RowNames = std::vector<std::string>;
  /// The rows chosen for an operation, or nullptr for the table's own order.
  const RowNames* chosen_implementation(std::string_view operation) const;
  const std::map<std::string, RowNames, std::less<>>& chosen_implementations() const { return chosen_; }

  /// State that an implementation keeps between calls (library handles, plan caches), made on first use.
  template <class State>
  State& state() {
    std::shared_ptr<void>& slot = states_[std::type_index(typeid(State))];
    if (!slot) slot = std::make_shared<State>();
    return *static_cast<State*>(slot.get());
  }

 private:
  struct Scratch;
  struct Side {
    Side(const DeviceBackend& backend, int device_index);
    OwnedStream stream;
    Event forked, done;
    std::shared_ptr<Scratch> scratch;
    bool pending = false;  // there is work that join() has to wait for
  };
  /// While it lives, calls queue beside the stream.
  class Beside {
   public:
    explicit Beside(Context& context);
    ~Beside();
    Beside(const Beside&) = delete;
    Beside& operator=(const Beside&) = delete;

   private:
    Context& context_;
  };

  Device device_;
  const DeviceBackend* backend_;
  OwnedStream stream_;
  std::unique_ptr<Allocator> allocator_;
  std::unique_ptr<StagingRing> staging_;  // made on first use
  std::shared_ptr<Scratch> scratch_;
  std::unique_ptr<Side> side_;  // made by the first fork()
  std::shared_ptr<PlanRecord> plan_record_;
  bool beside_ = false, forks_ = false, tf32_ = false;
  std::uint64_t settings_ = 0;
  std::map<std::string, RowNames, std::less<>> chosen_;
  std::unordered_map<std::type_index, std::shared_ptr<void>> states_;
};

}  // namespace zeroth
