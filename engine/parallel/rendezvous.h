#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "engine/parallel/rendezvous_server.h"

namespace zeroth {

struct RendezvousConfig {
  int rank = 0, size = 1;
  std::string master = "127.0.0.1";  ///< rank 0's host
  int port = 0;                      ///< that rank 0 serves on
  int listener = -1;                 ///< rank 0: a listening socket to serve on instead; owned from here on
  RendezvousLimits limits;
};

/// Where the ranks of a training meet. Rank 0 serves values by key over TCP, and every rank's connection to
/// it shows that the rank is alive. All learn within moments that one has died, was stopped, cannot be
/// reached, hangs, or has ended with an error: from then on every call throws Error(peer) with one line that
/// names it. All methods may be called from any thread.
class Rendezvous {
 public:
  /// Returns once all ranks are there. Throws Error(peer) naming those that were not in time, and
  /// Error(runtime) where rank 0 cannot serve.
  explicit Rendezvous(RendezvousConfig config);
  /// Without leave() before it, the others take this rank for dead.
  ~Rendezvous();

  int rank() const { return config_.rank; }
  int size() const { return config_.size; }
  const RendezvousLimits& limits() const { return config_.limits; }
  /// The machine's name, and the numeric address at which other ranks reach it.
  const std::string& host_of(int rank) const { return hosts_.at(static_cast<std::size_t>(rank)); }
  const std::string& address_of(int rank) const { return addresses_.at(static_cast<std::size_t>(rank)); }

  void set(const std::string& key, const std::string& value);
  /// Waits until some rank has set the key. Throws Error(peer) naming it after `time`, by default as long as
  /// a hanging rank is borne.
  std::string get(const std::string& key, std::optional<std::chrono::milliseconds> time = {});
  /// Returns once all ranks are at the barrier of that name, which serves once.
  void barrier(const std::string& name, std::optional<std::chrono::milliseconds> time = {});

  /// This rank has got on. One that never says so, while another one waits, hangs.
  void progressed() { ++progress_; }
  /// While it lives, this rank waits for others.
  class Waiting {
   public:
    explicit Waiting(Rendezvous& rendezvous) : rendezvous_(rendezvous) { ++rendezvous_.waiting_; }
    ~Waiting() { --rendezvous_.waiting_; }
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;

   private:
    Rendezvous& rendezvous_;
  };

  /// Empty, or who has failed and how.
  std::string failure() const;
  /// Throws Error(peer) where a rank has failed.
  void check() const;
  /// Calls `act` on another thread once a rank has failed, at once where one has.
  void on_failure(std::function<void(const std::string&)> act);
  /// Tells the others that this rank ends with an error.
  void fail_for_all(const std::string& what) noexcept;
  /// Rank 0: serves the others until they have left, a second at most.
  void end_serving();
  /// This rank's work is done: its end is no failure.
  void leave();

  /// Asks all ranks to end before a step that they agree on: none is left waiting within one.
  void ask_to_stop(int signal);
  /// Before the step after `done` steps: 0, or the signal for which all ranks end here. May wait for their
  /// agreement.
  int stop_before(std::int64_t done);

 private:
  void watch();
  void take(const Message& message);
  void send(const Message& message);
  void note_failure(const std::string& line);
  void finish();
  [[noreturn]] void fail_late(const std::string& what, std::chrono::milliseconds time) const;

  RendezvousConfig config_;
  std::unique_ptr<RendezvousServer> server_;
  std::optional<MessageStream> stream_;
  std::vector<std::string> hosts_, addresses_;

  mutable std::mutex mutex_;  // guards stream_ and what follows
  std::condition_variable changed_;
  std::map<std::string, std::string> values_;
  std::set<std::string> asked_;
  std::string failure_;
  std::function<void(const std::string&)> act_;
  bool welcomed_ = false, left_ = false, paused_ = false;
  std::int64_t begun_ = 0;
  std::optional<std::int64_t> stop_at_;
  int stop_signal_ = 0;

  std::atomic<std::int64_t> progress_ = 0;
  std::atomic<int> waiting_ = 0;
  std::atomic<bool> ending_ = false;
  std::thread thread_;
};

}  // namespace zeroth
