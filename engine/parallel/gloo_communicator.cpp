#include "engine/parallel/gloo_communicator.h"

#include <fmt/format.h>
#include <gloo/allgatherv.h>
#include <gloo/alltoallv.h>
#include <gloo/broadcast.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/store.h>
#include <gloo/transport/tcp/device.h>

#include <cstdlib>
#include <cstring>
#include <deque>
#include <numeric>

#include "engine/parallel/rank_order.h"

namespace zeroth {

namespace {

/// Gloo's ranks find each other by the rendezvous.
class Store final : public gloo::rendezvous::Store {
 public:
  Store(Rendezvous& rendezvous, const std::string& name)
      : rendezvous_(rendezvous), prefix_("gloo/" + name + "/") {}
  void set(const std::string& key, const std::vector<char>& data) override {
    rendezvous_.set(named(key), {data.begin(), data.end()});
  }
  std::vector<char> get(const std::string& key) override {
    const std::string value = rendezvous_.get(named(key), rendezvous_.limits().join);
    return {value.begin(), value.end()};
  }
  void wait(const std::vector<std::string>& keys) override { wait(keys, rendezvous_.limits().join); }
  void wait(const std::vector<std::string>& keys, const std::chrono::milliseconds& time) override {
    for (const std::string& key : keys) rendezvous_.get(named(key), time);
  }

 private:
  std::string named(const std::string& key) const { return prefix_ + key; }
  Rendezvous& rendezvous_;
  const std::string prefix_;
};

class GlooCommunicator final : public Communicator {
 public:
  GlooCommunicator(Rendezvous& rendezvous, const std::string& name);
  ~GlooCommunicator() override;

  int rank() const override { return rendezvous_.rank(); }
  int size() const override { return rendezvous_.size(); }
  void all_reduce(Context& context, TensorView values, RankReduction reduction) override;
  void reduce_scatter(Context& context, ConstTensorView parts, TensorView own,
                      RankReduction reduction) override;
  void all_gather(Context& context, ConstTensorView own, TensorView parts) override;
  void broadcast(Context& context, TensorView values, int root) override;
  void join(Context& context) override;
  Traffic traffic() const override {
    const std::lock_guard lock(mutex_);
    return traffic_;
  }
  std::string why_no_capture() const override { return "Gloo's collectives run on the host"; }

 private:
  using Buffer = std::unique_ptr<gloo::transport::UnboundBuffer>;
  using Counts = std::vector<std::int64_t>;

  void check_parts(const char* collective, ConstTensorView parts, ConstTensorView own) const;
  void queue(Context& context, std::int64_t bytes_sent, std::function<void()> work);
  void run();
  [[noreturn]] void fail_broken(const std::string& why);
  void cut();
  Buffer buffer(const void* data, std::int64_t bytes);
  void forget_buffers();
  void exchange(const void* from, const Counts& sent, void* to, const Counts& received);
  void gather(const void* own, void* parts, const Counts& counts);
  static std::int64_t sum(const Counts& counts) {
    return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  }
  /// Goes before the options that own the buffers.
  struct InUse {
    explicit InUse(GlooCommunicator& owner) : communicator(owner) {}
    ~InUse() { communicator.forget_buffers(); }
    InUse(const InUse&) = delete;
    InUse& operator=(const InUse&) = delete;
    GlooCommunicator& communicator;
  };

  Rendezvous& rendezvous_;
  std::shared_ptr<gloo::rendezvous::Context> context_;
  std::vector<std::byte> scratch_;  // of the thread

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  std::vector<gloo::transport::UnboundBuffer*> in_use_;
  bool busy_ = false, ending_ = false;
  std::string broken_;  // why no collective works any more
  Traffic traffic_;
  std::thread thread_;
};

GlooCommunicator::GlooCommunicator(Rendezvous& rendezvous, const std::string& name)
    : rendezvous_(rendezvous) {
  if (size() > 1) {
    gloo::transport::tcp::attr address(rendezvous.address_of(rank()).c_str());
    if (const char* wanted = std::getenv("GLOO_SOCKET_IFNAME"); wanted != nullptr && *wanted != '\0') {
      address = {};
      address.iface = wanted;
    }
    try {
      context_ = std::make_shared<gloo::rendezvous::Context>(rank(), size());
      context_->setTimeout(rendezvous.limits().join);
      std::shared_ptr<gloo::transport::Device> device = gloo::transport::tcp::CreateDevice(address);
      Store store(rendezvous, name);
      context_->connectFullMesh(store, device);
      // How long a rank may be waited for is the rendezvous's to say.
      context_->setTimeout(std::chrono::hours(24 * 365));
    } catch (const gloo::Exception& error) {
      rendezvous.check();
      fail(ErrorKind::peer, fmt::format("{} cannot reach the other ranks: {}",
                                        rank_name(rank(), rendezvous.host_of(rank())), error.what()));
    }
  }
  thread_ = std::thread([this] { run(); });
}

GlooCommunicator::~GlooCommunicator() {
  cut();  // whoever has joined finds nothing under way
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

/// Ends what waits for others, so that operands are free; there are no collectives afterwards.
void GlooCommunicator::cut() {
  std::unique_lock lock(mutex_);
  queue_.clear();
  if (broken_.empty()) broken_ = "its collectives have been cut";
  while (busy_) {
    for (gloo::transport::UnboundBuffer* buffer : in_use_) {
      buffer->abortWaitRecv();
      buffer->abortWaitSend();
    }
    changed_.wait_for(lock, std::chrono::milliseconds(10));
  }
}

void GlooCommunicator::check_parts(const char* collective, ConstTensorView parts, ConstTensorView own) const {
  check_exchanged(collective, parts);
  if (parts.elements() != own.elements() * size() || parts.dtype != own.dtype)
    fail(ErrorKind::usage,
         fmt::format("{}: parts of {} {} elements do not fit {} ranks' {} {}", collective, parts.elements(),
                     name_of(parts.dtype), size(), own.elements(), name_of(own.dtype)));
}

void GlooCommunicator::queue(Context& context, std::int64_t bytes_sent, std::function<void()> work) {
  require(context.device().kind != DeviceKind::cuda, "Gloo's ranks exchange host memory");
  if (!rendezvous_.failure().empty()) fail_broken("");
  if (context.device().kind == DeviceKind::simt) context.synchronize();
  const std::lock_guard lock(mutex_);
  ++traffic_.collectives;
  traffic_.bytes += bytes_sent;
  queue_.push_back(std::move(work));
  changed_.notify_all();
}

void GlooCommunicator::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return ending_ || !queue_.empty(); });
    if (ending_) return;
    const std::function<void()> work = std::move(queue_.front());
    queue_.pop_front();
    busy_ = true;
    lock.unlock();
    std::string why;
    try {
      work();
      rendezvous_.progressed();
    } catch (const std::exception& error) {
      why = error.what();
    }
    lock.lock();
    busy_ = false;
    if (!why.empty()) {
      queue_.clear();
      broken_ = why;
    }
    changed_.notify_all();
  }
}

void GlooCommunicator::join(Context&) {
  std::unique_lock lock(mutex_);
  const Rendezvous::Waiting waiting(rendezvous_);
  const auto done = [&] { return !broken_.empty() || (queue_.empty() && !busy_); };
  while (!changed_.wait_for(lock, std::chrono::milliseconds(50), done) && rendezvous_.failure().empty()) {
  }
  const std::string why = broken_;
  if (why.empty() && done()) return;
  lock.unlock();
  fail_broken(why);
}

/// A broken connection is most often a peer's end, of which the rendezvous tells within moments.
void GlooCommunicator::fail_broken(const std::string& why) {
  cut();
  const Clock::time_point late = Clock::now() + rendezvous_.limits().silence + std::chrono::seconds(1);
  while (rendezvous_.failure().empty() && Clock::now() < late)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  rendezvous_.check();
  fail(ErrorKind::peer, fmt::format("{} lost the connection to another rank: {}",
                                    rank_name(rank(), rendezvous_.host_of(rank())), why));
}

GlooCommunicator::Buffer GlooCommunicator::buffer(const void* data, std::int64_t bytes) {
  Buffer made = context_->createUnboundBuffer(const_cast<void*>(data), static_cast<std::size_t>(bytes));
  const std::lock_guard lock(mutex_);
  in_use_.push_back(made.get());
  return made;
}

void GlooCommunicator::forget_buffers() {
  const std::lock_guard lock(mutex_);
  in_use_.clear();
}

/// Rank r gets the r-th piece of `from`, whose lengths in bytes are `sent`.
void GlooCommunicator::exchange(const void* from, const Counts& sent, void* to, const Counts& received) {
  gloo::AlltoallvOptions options(context_);
  const InUse in_use(*this);
  options.setInput<char>(buffer(from, sum(sent)), sent);
  options.setOutput<char>(buffer(to, sum(received)), received);
  gloo::alltoallv(options);
}

/// Everybody gets the pieces of all, whose lengths in bytes are `counts`. `own` null: it lies in its place.
void GlooCommunicator::gather(const void* own, void* parts, const Counts& counts) {
  gloo::AllgathervOptions options(context_);
  const InUse in_use(*this);
  if (own != nullptr) options.setInput<char>(buffer(own, counts[static_cast<std::size_t>(rank())]));
  options.setOutput<char>(buffer(parts, sum(counts)), {counts.begin(), counts.end()});
  gloo::allgatherv(options);
}

void GlooCommunicator::all_reduce(Context& context, TensorView values, RankReduction reduction) {
  check_exchanged("all_reduce", values);
  if (size() == 1 || values.elements() == 0) return;
  const auto width = static_cast<std::int64_t>(size_of(values.dtype));
  const Share own = share_of(values.elements(), rank(), size());
  Counts shares;
  for (int r = 0; r < size(); ++r) shares.push_back(share_of(values.elements(), r, size()).count() * width);
  const Counts mine(shares.size(), own.count() * width);
  // To the others their shares; then round the ring all but the next rank's, which that has.
  const std::int64_t sent =
      2 * sum(shares) - mine[0] - shares[static_cast<std::size_t>((rank() + 1) % size())];
  queue(context, sent, [=, this] {
    scratch_.resize(static_cast<std::size_t>(sum(mine)));
    exchange(values.data, shares, scratch_.data(), mine);
    reduce_in_rank_order(scratch_.data(), size(), own.count(), values.dtype, reduction,
                         static_cast<std::byte*>(values.data) + own.begin * width);
    gather(nullptr, values.data, shares);
  });
}

void GlooCommunicator::reduce_scatter(Context& context, ConstTensorView parts, TensorView own,
                                      RankReduction reduction) {
  check_parts("reduce_scatter", parts, own);
  const Counts counts(static_cast<std::size_t>(size()), static_cast<std::int64_t>(own.bytes()));
  queue(context, sum(counts) - counts[0], [=, this] {
    if (size() == 1) return static_cast<void>(std::memmove(own.data, parts.data, own.bytes()));
    scratch_.resize(parts.bytes());
    exchange(parts.data, counts, scratch_.data(), counts);
    reduce_in_rank_order(scratch_.data(), size(), own.elements(), own.dtype, reduction, own.data);
  });
}

void GlooCommunicator::all_gather(Context& context, ConstTensorView own, TensorView parts) {
  check_parts("all_gather", parts, own);
  const Counts counts(static_cast<std::size_t>(size()), static_cast<std::int64_t>(own.bytes()));
  std::byte* const place =
      static_cast<std::byte*>(parts.data) + own.bytes() * static_cast<std::size_t>(rank());
  queue(context, sum(counts) - counts[0], [=, this] {
    if (size() == 1) return static_cast<void>(std::memmove(place, own.data, own.bytes()));
    gather(own.data == place ? nullptr : own.data, parts.data, counts);
  });
}

/// Gloo's tree of powers of two: this rank hands on to those whose number differs in a bit below its own.
void GlooCommunicator::broadcast(Context& context, TensorView values, int root) {
  check_exchanged("broadcast", values);
  require(root >= 0 && root < size(), "broadcast: root is a rank");
  if (size() == 1 || values.elements() == 0) return;
  const int place = (rank() - root + size()) % size();
  const auto bytes = static_cast<std::int64_t>(values.bytes());
  std::int64_t children = 0;
  for (int bit = 1; bit < size() && place % (2 * bit) == 0; bit *= 2)
    if (place + bit < size()) ++children;
  queue(context, children * bytes, [=, this] {
    gloo::BroadcastOptions options(context_);
    const InUse in_use(*this);
    options.setOutput<char>(buffer(values.data, bytes));
    options.setRoot(root);
    gloo::broadcast(options);
  });
}

}  // namespace

std::string why_no_gloo() {
  return "";
}

std::unique_ptr<Communicator> make_gloo_communicator(Rendezvous& rendezvous, const std::string& name) {
  return std::make_unique<GlooCommunicator>(rendezvous, name);
}

}  // namespace zeroth
