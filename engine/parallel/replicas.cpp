#include "engine/parallel/replicas.h"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

namespace zeroth {

/// Where ranks wait for each other, and see each other's operands.
struct Replicas::Meeting {
  Meeting(int ranks, double timeout) : timeout_seconds(timeout), from(ranks), to(ranks) {}

  /// Returns when all ranks have come here.
  void meet(int rank) {
    std::unique_lock lock(mutex);
    check(rank);
    const std::uint64_t mine = round;
    if (++waiting == static_cast<int>(from.size())) {
      waiting = 0;
      ++round;
      changed.notify_all();
      return;
    }
    const auto limit = std::chrono::duration<double>(timeout_seconds);
    if (!changed.wait_for(lock, limit, [&] { return round != mine || gone >= 0; }))
      fail(ErrorKind::peer, fmt::format("rank {} has waited {} s for the other replicas in a collective",
                                        rank, timeout_seconds));
    if (round == mine) check(rank);
  }
  void check(int rank) const {
    if (gone >= 0 && gone != rank) fail(ErrorKind::peer, fmt::format("replica {} has left: {}", gone, why));
  }

  const double timeout_seconds;
  std::mutex mutex;
  std::condition_variable changed;
  int waiting = 0, gone = -1;
  std::uint64_t round = 0;
  std::string why;
  std::vector<ConstTensorView> from;  // of each rank, in the collective that is running
  std::vector<TensorView> to;
};

namespace {

/// Elements [begin, end) of every `to` become the reduction of those of `from`, in rank order.
template <class T>
void reduce_range(const std::vector<const T*>& from, const std::vector<T*>& to, std::int64_t begin,
                  std::int64_t end, Reduction reduction) {
  const auto widen = [](T value) {
    if constexpr (std::is_integral_v<T>)
      return value;
    else
      return to_compute(value);
  };
  for (std::int64_t i = begin; i < end; ++i) {
    auto result = widen(from[0][i]);
    for (std::size_t rank = 1; rank < from.size(); ++rank) {
      const auto value = widen(from[rank][i]);
      if (reduction == Reduction::sum)
        result += value;
      else if (value > result || value != value)
        result = value;
    }
    T narrow;
    if constexpr (std::is_integral_v<T>)
      narrow = result;
    else
      narrow = from_compute<T>(result);
    for (T* values : to) values[i] = narrow;
  }
}

template <class Fn>
void dispatch_exchanged(DType dtype, Fn&& fn) {
  if (dtype == DType::i32) return fn(TypeTag<std::int32_t>{});
  if (dtype == DType::f64) return fn(TypeTag<double>{});
  dispatch_storage(dtype, std::forward<Fn>(fn));
}

void check_parts(ConstTensorView part, ConstTensorView parts, int ranks) {
  require(part.dtype == parts.dtype && part.elements() * ranks == parts.elements(),
          "a collective's whole has as many parts of one dtype as there are ranks");
}

}  // namespace

/// Collectives wait until somebody joins them, as late as the contract allows: whoever reads a result or
/// releases an operand without a join is found out.
class Replicas::Rank final : public Communicator {
 public:
  Rank(Meeting& meeting, int rank) : meeting_(meeting), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(meeting_.from.size()); }

  void all_reduce(Context& context, TensorView values, Reduction reduction) override {
    count(2 * sent(values.bytes()));
    queue(context, values, values, [this, reduction](const auto& from, const auto& to) {
      const std::int64_t n = to[0].elements();
      combine(from, to, n * rank_ / size(), n * (rank_ + 1) / size(), reduction);
    });
  }
  void reduce_scatter(Context& context, ConstTensorView parts, TensorView own, Reduction reduction) override {
    check_parts(own, parts, size());
    count(sent(parts.bytes()));
    queue(context, parts, own, [this, reduction](const auto& from, const auto& to) {
      const std::int64_t n = to[0].elements();
      std::vector<ConstTensorView> sources;
      for (const ConstTensorView& whole : from) sources.push_back(part(whole, rank_, n));
      combine(sources, {to[static_cast<std::size_t>(rank_)]}, 0, n, reduction);
    });
  }
  void all_gather(Context& context, ConstTensorView own, TensorView parts) override {
    check_parts(own, parts, size());
    count(sent(parts.bytes()));
    queue(context, own, parts, [this](const auto& from, const auto& to) {
      for (const TensorView& whole : to) {
        const ConstTensorView place = part(whole, rank_, from[0].elements());
        copy(from[static_cast<std::size_t>(rank_)], place);
      }
    });
  }
  void broadcast(Context& context, TensorView values, int root) override {
    // Along the ring from the root on, whose predecessor sends nothing.
    count((rank_ + 1) % size() == root ? 0 : static_cast<std::int64_t>(values.bytes()));
    queue(context, values, values, [this, root](const auto& from, const auto& to) {
      if (rank_ != root) copy(from[static_cast<std::size_t>(root)], to[static_cast<std::size_t>(rank_)]);
    });
  }
  void join(Context&) override {
    while (!queued_.empty()) {
      const std::function<void()> next = std::move(queued_.front());
      queued_.pop_front();
      next();
    }
  }
  Traffic traffic() const override { return traffic_; }
  std::string why_no_capture() const override { return "replicas in one process meet on the host"; }

 private:
  void count(std::int64_t bytes) {
    ++traffic_.collectives;
    traffic_.bytes += bytes;
  }
  std::int64_t sent(std::size_t bytes) const {
    return static_cast<std::int64_t>(bytes) * (size() - 1) / size();
  }
  static ConstTensorView part(ConstTensorView whole, int index, std::int64_t n) {
    return {static_cast<const std::byte*>(whole.data) +
                static_cast<std::size_t>(index * n) * size_of(whole.dtype),
            {n},
            whole.dtype};
  }
  void copy(ConstTensorView from, ConstTensorView to) const {
    if (from.data != to.data && from.bytes() > 0)
      backend(device_.kind).copy_on_device(const_cast<void*>(to.data), from.data, from.bytes(), {});
  }
  void combine(const std::vector<ConstTensorView>& from, const std::vector<TensorView>& to,
               std::int64_t begin, std::int64_t end, Reduction reduction) const {
    dispatch_exchanged(to[0].dtype, [&]<class T>(TypeTag<T>) {
      std::vector<const T*> sources;
      std::vector<T*> results;
      for (const ConstTensorView& view : from) sources.push_back(view.as<T>());
      for (const TensorView& view : to) results.push_back(view.as<T>());
      reduce_range(sources, results, begin, end, reduction);
    });
  }

  /// `act` does this rank's share of a collective, with the operands of all ranks.
  template <class Act>
  void queue(Context& context, ConstTensorView from, TensorView to, Act act) {
    if (context.device().kind == DeviceKind::cuda)
      fail(ErrorKind::device, "replicas in one process run on cpu and simt");
    device_ = context.device();
    queued_.push_back([this, from, to, act] {
      meeting_.from[static_cast<std::size_t>(rank_)] = from;
      meeting_.to[static_cast<std::size_t>(rank_)] = to;
      meeting_.meet(rank_);  // all operands are there
      const auto same = [&](const auto& view) {
        return view.elements() == meeting_.from[0].elements() && view.dtype == from.dtype;
      };
      if (!std::all_of(meeting_.from.begin(), meeting_.from.end(), same))
        fail(ErrorKind::usage, "replicas meet in a collective with operands of different sizes");
      act(meeting_.from, meeting_.to);
      meeting_.meet(rank_);  // all results are there
    });
  }

  Meeting& meeting_;
  const int rank_;
  Device device_;
  Traffic traffic_;
  std::deque<std::function<void()>> queued_;
};

Replicas::Replicas(int size, double timeout_seconds)
    : meeting_(std::make_unique<Meeting>(size, timeout_seconds)) {
  require(size >= 1, "there is at least one replica");
  for (int rank = 0; rank < size; ++rank) ranks_.push_back(std::make_unique<Rank>(*meeting_, rank));
}

Replicas::~Replicas() = default;

Communicator& Replicas::rank(int rank) {
  return *ranks_[static_cast<std::size_t>(rank)];
}

void Replicas::leave(int rank, const std::string& why) {
  const std::lock_guard lock(meeting_->mutex);
  if (meeting_->gone >= 0) return;
  meeting_->gone = rank;
  meeting_->why = why;
  meeting_->changed.notify_all();
}

void run_replicas(int size, const std::function<void(Communicator&)>& work, double timeout_seconds) {
  Replicas replicas(size, timeout_seconds);
  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(size));
  const int threads_each = std::max(1, omp_get_max_threads() / size);
  const auto run = [&](int rank) {
    omp_set_num_threads(threads_each);
    try {
      work(replicas.rank(rank));
      replicas.leave(rank, "it is done");
    } catch (const std::exception& error) {
      failures[static_cast<std::size_t>(rank)] = std::current_exception();
      replicas.leave(rank, error.what());
    }
  };
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) threads.emplace_back(run, rank);
  for (std::thread& thread : threads) thread.join();
  std::exception_ptr first;
  for (const std::exception_ptr& failure : failures) {
    if (!failure) continue;
    try {
      std::rethrow_exception(failure);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::peer || !first) {
        const bool only_about_others = error.kind() == ErrorKind::peer;
        first = failure;
        if (!only_about_others) break;
      }
    } catch (...) {
      first = failure;
      break;
    }
  }
  if (first) std::rethrow_exception(first);
}

}  // namespace zeroth
