#pragma once

#include <atomic>
#include <list>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "engine/parallel/rank_message.h"

namespace zeroth {

/// How long ranks are waited for.
struct RendezvousLimits {
  std::chrono::milliseconds join{60000};     ///< until all are there
  std::chrono::milliseconds silence{10000};  ///< a rank not heard of for so long is stopped or cut off
  std::chrono::milliseconds hang{
      300000};  ///< a rank that does not get on for so long, while others wait for it
};

/// Alive is said so often.
inline constexpr std::chrono::milliseconds kBetweenBeats{500};

/// What rank 0 serves to all ranks, itself among them: values by key, and the news that a rank has failed. A
/// thread of its own; throws nothing.
class RendezvousServer {
 public:
  RendezvousServer(Socket listener, int size, const RendezvousLimits& limits);
  ~RendezvousServer();
  /// Waits until the ranks have left, for so long at most. No more calls.
  void end(std::chrono::milliseconds time);

 private:
  struct Peer {
    explicit Peer(Socket socket) : stream(std::move(socket)) {}
    MessageStream stream;
    int rank = -1;  // until its hello
    std::string host;
    std::int64_t process = 0;
    Clock::time_point heard = Clock::now(), moved = heard;
    std::int64_t progress = 0;
    bool waits = false, left = false, gone = false;
    std::int64_t begun = -1;
    std::vector<std::string> wanted;  // keys it waits for
  };

  void run();
  void accept_all();
  void serve(Peer& peer);
  void take(Peer& peer, const Message& message);
  void join(Peer& peer, const Message& hello);
  void set(const std::string& key, const std::string& value);
  void welcome_all();
  void check_joining();
  void check_silence();
  void check_progress();
  void fail_all(const std::string& line);
  void send_all(const Message& message);
  bool all_left() const;
  std::string name_of(const Peer& peer) const;
  std::string missing_ranks() const;
  Peer* of_rank(int rank);

  Socket listener_;
  const int size_;
  const RendezvousLimits limits_;
  const Clock::time_point begun_ = Clock::now();
  std::list<Peer> peers_;
  std::map<std::string, std::string> values_;
  bool complete_ = false;
  std::string failure_;
  int stop_signal_ = 0;
  std::atomic<bool> ending_ = false;
  std::atomic<std::int64_t> farewell_ = 0;  // milliseconds
  std::thread thread_;
};

/// "rank 3 on node7"
std::string rank_name(int rank, const std::string& host);
/// "12 s", "0.5 s"
std::string seconds_text(std::chrono::milliseconds time);

}  // namespace zeroth
