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

#include "kernels/rank_sum/rank_sum.h"

namespace zeroth {

/// Where ranks wait for each other, and see each other's operands.
struct Replicas::Meeting {
  Meeting(std::size_t ranks, double timeout)
      : timeout_seconds(timeout), from(ranks), to(ranks), ready(ranks), done(ranks) {}

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
  // On cuda: what each rank's stream has passed.
  std::vector<std::unique_ptr<Event>> ready, done;
};

namespace {

void check_parts(ConstTensorView part, ConstTensorView parts, int ranks) {
  require(part.dtype == parts.dtype && part.elements() * ranks == parts.elements(),
          "a collective's whole has as many parts of one dtype as there are ranks");
}

}  // namespace

/// On hosts, collectives wait until somebody joins them, as late as the contract allows: whoever reads a
/// result or releases an operand without a join is found out. On cuda they are queued at once, behind events
/// of all ranks' streams.
class Replicas::Rank final : public Communicator {
 public:
  Rank(Meeting& meeting, int rank) : meeting_(meeting), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(meeting_.from.size()); }

  void all_reduce(Context& context, TensorView values, RankReduction reduction) override {
    count(2 * sent(values.bytes()));
    queue(context, values, values, [=, this, &context](const auto& from, const auto& to) {
      const std::int64_t n = to[0].elements(), begin = n * rank_ / size(), end = n * (rank_ + 1) / size();
      combine(context, from, begin, to, begin, end - begin, reduction);
    });
  }
  void reduce_scatter(Context& context, ConstTensorView parts, TensorView own,
                      RankReduction reduction) override {
    check_parts(own, parts, size());
    count(sent(parts.bytes()));
    queue(context, parts, own, [=, this, &context](const auto& from, const auto& to) {
      const std::int64_t n = to[0].elements();
      combine(context, from, rank_ * n, {to[static_cast<std::size_t>(rank_)]}, 0, n, reduction);
    });
  }
  void all_gather(Context& context, ConstTensorView own, TensorView parts) override {
    check_parts(own, parts, size());
    count(sent(parts.bytes()));
    queue(context, own, parts, [=, this, &context](const auto& from, const auto& to) {
      const ConstTensorView& mine = from[static_cast<std::size_t>(rank_)];
      for (const TensorView& whole : to)
        copy(context, mine.data,
             static_cast<std::byte*>(whole.data) + static_cast<std::size_t>(rank_) * mine.bytes(),
             mine.bytes());
    });
  }
  void broadcast(Context& context, TensorView values, int root) override {
    // Along the ring from the root on, whose predecessor sends nothing.
    count((rank_ + 1) % size() == root ? 0 : static_cast<std::int64_t>(values.bytes()));
    queue(context, values, values, [=, this, &context](const auto& from, const auto& to) {
      const TensorView& mine = to[static_cast<std::size_t>(rank_)];
      if (rank_ != root) copy(context, from[static_cast<std::size_t>(root)].data, mine.data, mine.bytes());
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
  static void copy(Context& context, const void* from, void* to, std::size_t bytes) {
    if (from != to && bytes > 0) context.memory().copy_on_device(to, from, bytes, context.stream());
  }
  static void combine(Context& context, const std::vector<ConstTensorView>& from, std::int64_t source_first,
                      const std::vector<TensorView>& to, std::int64_t result_first, std::int64_t elements,
                      RankReduction reduction) {
    rank_sum_forward(context,
                     {elements, source_first, result_first, to[0].dtype, reduction == RankReduction::sum},
                     from, to);
  }

  /// `act` does this rank's share of a collective, with the operands of all ranks.
  template <class Act>
  void queue(Context& context, ConstTensorView from, TensorView to, Act act) {
    if (context.device().kind == DeviceKind::cuda)
      between_events(context, from, to, act);
    else
      queued_.push_back([this, from, to, act] { run(from, to, act); });
  }
  template <class Act>
  void run(ConstTensorView from, TensorView to, const Act& act) {
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
  }
  /// The ranks meet when all is queued, and their streams wait for each other's events. An event is recorded
  /// anew only when all have queued their waits for it: there is a meeting between.
  template <class Act>
  void between_events(Context& context, ConstTensorView from, TensorView to, const Act& act) {
    auto &ready = meeting_.ready[static_cast<std::size_t>(rank_)],
         &done = meeting_.done[static_cast<std::size_t>(rank_)];
    for (auto* event : {&ready, &done})
      if (*event == nullptr) *event = std::make_unique<Event>(context.memory(), context.device().index);
    ready->record(context.stream());
    run(from, to, [&](const auto& all_from, const auto& all_to) {
      for (const auto& event : meeting_.ready) event->queue_wait(context.stream());
      act(all_from, all_to);
      done->record(context.stream());
    });
    for (const auto& event : meeting_.done) event->queue_wait(context.stream());
  }

  Meeting& meeting_;
  const int rank_;
  Traffic traffic_;
  std::deque<std::function<void()>> queued_;
};

Replicas::Replicas(int size, double timeout_seconds)
    : meeting_(std::make_unique<Meeting>(static_cast<std::size_t>(size), timeout_seconds)) {
  require(size >= 1 && size <= RankSumParams::kMaxRanks, "there are 1 to 16 replicas");
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
