#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <typeindex>
#include <unordered_map>

#include "kernels/core/device.h"
#include "kernels/core/tensor_view.h"

namespace zeroth {

/// A stream-ordered caching allocator: blocks return to a free list by size and are handed out again without
/// asking the device. Not thread-safe: one allocator belongs to one Context.
class Allocator {
 public:
  explicit Allocator(Device device);
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  void* allocate(std::size_t bytes);
  void release(void* data, std::size_t bytes) noexcept;
  std::size_t bytes_in_use() const { return in_use_; }
  std::size_t peak_bytes() const { return peak_; }
  /// Bytes obtained from the device: in use plus cached.
  std::size_t bytes_reserved() const { return reserved_; }
  void reset_peak() { peak_ = in_use_; }

 private:
  void release_cached() noexcept;

  Device device_;
  std::multimap<std::size_t, void*> free_;
  std::size_t in_use_ = 0, peak_ = 0, reserved_ = 0;
};

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
  Stream stream() const { return stream_; }
  Allocator& allocator() { return *allocator_; }
  const DeviceBackend& memory() const { return *backend_; }
  void synchronize() const { backend_->synchronize(stream_); }

  /// Scratch memory of at least `bytes`, valid until the next call of scratch() on this context.
  Workspace scratch(std::size_t bytes);

  /// Takes "operation=row"; later calls override earlier ones. Throws Error(usage) when it is not of that
  /// form. Whether operation and row exist is checked by check_implementations() in kernels/operations.h.
  void choose_implementation(const std::string& assignment);
  /// The row chosen for an operation, or nullptr for the table's own order.
  const std::string* chosen_implementation(std::string_view operation) const;
  const std::map<std::string, std::string, std::less<>>& chosen_implementations() const { return chosen_; }

  /// State that an implementation keeps between calls (library handles, plan caches), made on first use.
  template <class State>
  State& state() {
    std::shared_ptr<void>& slot = states_[std::type_index(typeid(State))];
    if (!slot) slot = std::make_shared<State>();
    return *static_cast<State*>(slot.get());
  }

 private:
  Device device_;
  const DeviceBackend* backend_;
  Stream stream_;
  std::unique_ptr<Allocator> allocator_;
  Workspace scratch_;
  std::map<std::string, std::string, std::less<>> chosen_;
  std::unordered_map<std::type_index, std::shared_ptr<void>> states_;
};

}  // namespace zeroth
