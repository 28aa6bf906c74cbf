#include "engine/parallel/rendezvous_server.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "kernels/core/error.h"

namespace zeroth {

namespace {

constexpr std::chrono::milliseconds kTick{100};
constexpr std::chrono::milliseconds kFarewell{3000};  // for the other ranks to take in how it ended

}  // namespace

std::string rank_name(int rank, const std::string& host) {
  return fmt::format("rank {} on {}", rank, host);
}

std::string seconds_text(std::chrono::milliseconds time) {
  return fmt::format("{:g} s", static_cast<double>(time.count()) / 1000.0);
}

RendezvousServer::RendezvousServer(Socket listener, int size, const RendezvousLimits& limits)
    : listener_(std::move(listener)), size_(size), limits_(limits) {
  make_prompt(listener_);
  thread_ = std::thread([this] { run(); });
}

RendezvousServer::~RendezvousServer() {
  end(kFarewell);
}

void RendezvousServer::end(std::chrono::milliseconds time) {
  farewell_ = time.count();
  ending_ = true;
  if (thread_.joinable()) thread_.join();
}

bool RendezvousServer::all_left() const {
  return std::all_of(peers_.begin(), peers_.end(), [](const Peer& peer) { return peer.left || peer.gone; });
}

void RendezvousServer::run() {
  Clock::time_point beat = Clock::now(), looked = beat, end = Clock::time_point::max();
  while (!(ending_ && all_left()) && Clock::now() < end) {
    if (ending_ && end == Clock::time_point::max())
      end = Clock::now() + std::chrono::milliseconds(farewell_.load());
    std::vector<pollfd> watched{{listener_.get(), POLLIN, 0}};
    for (const Peer& peer : peers_)
      if (!peer.gone)
        watched.push_back({peer.stream.socket().get(),
                           static_cast<short>(peer.stream.has_unsent() ? POLLIN | POLLOUT : POLLIN), 0});
    ::poll(watched.data(), watched.size(), static_cast<int>(kTick.count()));
    const Clock::time_point now = Clock::now();
    // This process itself was stopped for a while: what the others said meanwhile is only now being read.
    if (now - looked > limits_.silence / 2)
      for (Peer& peer : peers_) peer.heard = now;
    looked = now;
    accept_all();
    for (Peer& peer : peers_)
      if (!peer.gone) serve(peer);
    if (now - beat >= kBetweenBeats) {
      beat = now;
      send_all({MessageKind::beat});
    }
    if (!failure_.empty() || ending_) continue;
    check_joining();
    check_silence();
    check_progress();
  }
}

void RendezvousServer::accept_all() {
  for (;;) {
    Socket socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!socket) return;
    peers_.emplace_back(std::move(socket));
  }
}

void RendezvousServer::serve(Peer& peer) {
  peer.stream.flush();
  const bool open = peer.stream.receive();
  try {
    for (Message message; peer.stream.next(message);) take(peer, message);
  } catch (const Error&) {  // no rank: somebody else's connection
    if (peer.rank < 0)
      peer.gone = true;
    else
      fail_all(name_of(peer) + " runs another version of zeroth");
  }
  if (open) return;
  peer.gone = true;
  if (peer.rank >= 0 && !peer.left) fail_all(name_of(peer) + " died");
}

void RendezvousServer::take(Peer& peer, const Message& message) {
  peer.heard = Clock::now();
  if (peer.rank < 0 && message.kind != MessageKind::hello) fail(ErrorKind::runtime, "a stranger");
  switch (message.kind) {
    case MessageKind::hello:
      return join(peer, message);
    case MessageKind::set:
      return set(message.name, message.text);
    case MessageKind::get:
      if (const auto found = values_.find(message.name); found != values_.end())
        peer.stream.send({MessageKind::value, {}, found->first, found->second});
      else
        peer.wanted.push_back(message.name);
      return;
    case MessageKind::beat:
      if (message.numbers[0] != peer.progress || (message.numbers[1] != 0) != peer.waits)
        peer.moved = peer.heard;
      peer.progress = message.numbers[0];
      peer.waits = message.numbers[1] != 0;
      return;
    case MessageKind::failed:
      peer.left = true;  // its end is no news
      return fail_all(fmt::format("{} failed: {}", name_of(peer), message.text));
    case MessageKind::leave:
      peer.left = true;
      return;
    case MessageKind::stop:
      if (stop_signal_ != 0) return;
      stop_signal_ = static_cast<int>(message.numbers[0]);
      return send_all({MessageKind::pause});
    case MessageKind::begun: {
      peer.begun = message.numbers[0];
      std::int64_t most = 0;
      for (int rank = 0; rank < size_; ++rank) {
        const Peer* other = of_rank(rank);
        if (other == nullptr || other->begun < 0) return;
        most = std::max(most, other->begun);
      }
      return send_all({MessageKind::stop_at, {most, stop_signal_}});
    }
    default:
      fail(ErrorKind::runtime, "a message that no rank sends");
  }
}

void RendezvousServer::join(Peer& peer, const Message& hello) {
  const std::int64_t rank = hello.numbers[0];
  peer.host = hello.name;
  peer.process = hello.numbers[2];
  if (!failure_.empty()) {  // it comes too late
    peer.rank = static_cast<int>(rank);
    return peer.stream.send({MessageKind::failed, {}, "", failure_});
  }
  if (hello.numbers[1] != size_ || rank < 0 || rank >= size_) {
    peer.left = true;
    peer.rank = static_cast<int>(rank);
    return fail_all(fmt::format("{} came as one of {} ranks, rank 0 was started as one of {}", name_of(peer),
                                hello.numbers[1], size_));
  }
  if (const Peer* twin = of_rank(static_cast<int>(rank))) {
    const std::string first = fmt::format("process {} on {}", twin->process, twin->host);
    peer.left = true;
    peer.rank = static_cast<int>(rank);
    return fail_all(fmt::format("rank {} was started twice: {}, and process {} on {}", rank, first,
                                peer.process, peer.host));
  }
  peer.rank = static_cast<int>(rank);
  if (missing_ranks().empty()) welcome_all();
}

RendezvousServer::Peer* RendezvousServer::of_rank(int rank) {
  for (Peer& peer : peers_)
    if (peer.rank == rank && !peer.gone) return &peer;
  return nullptr;
}

std::string RendezvousServer::missing_ranks() const {
  std::vector<int> missing;
  for (int rank = 0; rank < size_; ++rank)
    if (std::none_of(peers_.begin(), peers_.end(), [&](const Peer& peer) { return peer.rank == rank; }))
      missing.push_back(rank);
  return fmt::format("{}", fmt::join(missing, ", "));
}

/// Ranks on rank 0's machine that reach it by a loopback address are reached by others as rank 0 is.
void RendezvousServer::welcome_all() {
  complete_ = true;
  std::string here;
  for (const Peer& peer : peers_) {
    const std::string own = own_address(peer.stream.socket());
    if (peer.rank >= 0 && (here.empty() || is_loopback(here))) here = own;
  }
  std::string hosts, addresses;
  for (int rank = 0; rank < size_; ++rank) {
    Peer& peer = *of_rank(rank);
    const std::string seen = peer_address(peer.stream.socket());
    hosts += peer.host + '\n';
    addresses += (is_loopback(seen) ? here : seen) + '\n';
    peer.heard = peer.moved = Clock::now();
  }
  send_all({MessageKind::welcome, {}, hosts, addresses});
}

void RendezvousServer::set(const std::string& key, const std::string& value) {
  values_[key] = value;
  for (Peer& peer : peers_)
    if (std::erase(peer.wanted, key) > 0) peer.stream.send({MessageKind::value, {}, key, value});
}

void RendezvousServer::check_joining() {
  if (complete_ || Clock::now() - begun_ < limits_.join) return;
  const std::string missing = missing_ranks();
  fail_all(fmt::format("rank{} {} of {} did not join within {}", missing.find(',') == missing.npos ? "" : "s",
                       missing, size_, seconds_text(limits_.join)));
}

void RendezvousServer::check_silence() {
  for (const Peer& peer : peers_)
    if (peer.rank >= 0 && !peer.left && !peer.gone && Clock::now() - peer.heard > limits_.silence)
      return fail_all(fmt::format("{} has been silent for {}: stopped, or its network is cut", name_of(peer),
                                  seconds_text(limits_.silence)));
}

/// Where nobody has got on for long and somebody waits, those hang that do not wait, or have not come as far.
void RendezvousServer::check_progress() {
  std::vector<const Peer*> ranks, working, behind;
  std::int64_t least = 0, most = 0;
  for (const Peer& peer : peers_) {
    if (peer.rank < 0 || peer.left || peer.gone) continue;
    if (Clock::now() - peer.moved < limits_.hang) return;
    least = ranks.empty() ? peer.progress : std::min(least, peer.progress);
    most = ranks.empty() ? peer.progress : std::max(most, peer.progress);
    ranks.push_back(&peer);
    if (!peer.waits) working.push_back(&peer);
  }
  if (!complete_ || working.size() == ranks.size()) return;
  for (const Peer* peer : ranks)
    if (peer->progress == least) behind.push_back(peer);
  const bool together = working.empty() && least == most;
  std::vector<std::string> names;
  for (const Peer* peer : working.empty() ? behind : working) names.push_back(name_of(*peer));
  fail_all(fmt::format("{} {} got no further for {}{}", fmt::join(names, ", "),
                       names.size() == 1 ? "has" : "have", seconds_text(limits_.hang),
                       together ? " in a collective all have entered: a connection between them is broken"
                                : " while others wait"));
}

void RendezvousServer::fail_all(const std::string& line) {
  if (!failure_.empty()) return;
  failure_ = line;
  send_all({MessageKind::failed, {}, "", line});
}

void RendezvousServer::send_all(const Message& message) {
  for (Peer& peer : peers_)
    if (peer.rank >= 0 && !peer.gone) peer.stream.send(message);
}

std::string RendezvousServer::name_of(const Peer& peer) const {
  return rank_name(peer.rank, peer.host);
}

}  // namespace zeroth
