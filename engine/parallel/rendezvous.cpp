#include "engine/parallel/rendezvous.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <sstream>

#include "kernels/core/error.h"

namespace zeroth {

namespace {

// Rank 0 says who is missing; where it says nothing either, this much later.
constexpr std::chrono::milliseconds kGrace{2000};
constexpr std::chrono::milliseconds kTick{100};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

}  // namespace

Rendezvous::Rendezvous(RendezvousConfig config) : config_(std::move(config)) {
  const Clock::time_point late = Clock::now() + config_.limits.join + kGrace;
  if (config_.rank == 0) {
    Socket listener = config_.listener >= 0 ? Socket(config_.listener) : listen_on(config_.port);
    config_.port = port_of(listener);
    server_ = std::make_unique<RendezvousServer>(std::move(listener), config_.size, config_.limits);
  }
  stream_.emplace(connect_to(config_.rank == 0 ? "127.0.0.1" : config_.master, config_.port,
                             Clock::now() + config_.limits.join));
  stream_->send({MessageKind::hello, {config_.rank, config_.size, ::getpid()}, host_name()});
  thread_ = std::thread([this] { watch(); });
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, late, [&] { return welcomed_ || !failure_.empty(); });
  if (welcomed_) return;
  const std::string line = failure_.empty()
                               ? fmt::format("rank 0 at {}, port {}, gave no answer within {}",
                                             config_.master, config_.port, seconds_text(config_.limits.join))
                               : failure_;
  lock.unlock();
  finish();
  fail(ErrorKind::peer, line);
}

Rendezvous::~Rendezvous() {
  finish();
}

void Rendezvous::finish() {
  ending_ = true;
  if (thread_.joinable()) thread_.join();
  stream_.reset();
  server_.reset();  // waits for the others, whose connections end as they leave
}

void Rendezvous::send(const Message& message) {
  const std::lock_guard lock(mutex_);
  stream_->send(message);
}

void Rendezvous::set(const std::string& key, const std::string& value) {
  check();
  send({MessageKind::set, {}, key, value});
}

std::string Rendezvous::get(const std::string& key, std::optional<std::chrono::milliseconds> time) {
  const std::chrono::milliseconds limit = time.value_or(config_.limits.hang + kGrace);
  const Waiting waiting(*this);
  std::unique_lock lock(mutex_);
  if (values_.find(key) == values_.end() && asked_.insert(key).second)
    stream_->send({MessageKind::get, {}, key});
  changed_.wait_for(lock, limit, [&] { return !failure_.empty() || values_.count(key) > 0; });
  if (!failure_.empty()) fail(ErrorKind::peer, failure_);
  const auto found = values_.find(key);
  if (found == values_.end())
    fail(ErrorKind::peer, fmt::format("no rank has told '{}' within {}", key, seconds_text(limit)));
  return found->second;
}

void Rendezvous::barrier(const std::string& name, std::optional<std::chrono::milliseconds> time) {
  const auto key = [&](int rank) { return fmt::format("barrier/{}/{}", name, rank); };
  set(key(rank()), "");
  for (int other = 0; other < size(); ++other) get(key(other), time);
}

std::string Rendezvous::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

void Rendezvous::check() const {
  if (const std::string line = failure(); !line.empty()) fail(ErrorKind::peer, line);
}

void Rendezvous::on_failure(std::function<void(const std::string&)> act) {
  std::string line;
  {
    const std::lock_guard lock(mutex_);
    act_ = act;
    line = failure_;
  }
  if (!line.empty() && act) act(line);
}

void Rendezvous::fail_for_all(const std::string& what) noexcept {
  try {
    const std::lock_guard lock(mutex_);
    if (!failure_.empty() || left_) return;
    left_ = true;
    stream_->send({MessageKind::failed, {}, "", what});
  } catch (...) {  // then its silence tells
  }
}

void Rendezvous::end_serving() {
  if (server_) server_->end(std::chrono::seconds(1));
}

void Rendezvous::leave() {
  const std::lock_guard lock(mutex_);
  if (std::exchange(left_, true)) return;
  stream_->send({MessageKind::leave});
}

void Rendezvous::ask_to_stop(int signal) {
  send({MessageKind::stop, {signal}});
}

int Rendezvous::stop_before(std::int64_t done) {
  std::unique_lock lock(mutex_);
  if (paused_) {
    const Waiting waiting(*this);
    changed_.wait(lock, [&] { return stop_at_ || !failure_.empty(); });
  }
  if (!failure_.empty()) fail(ErrorKind::peer, failure_);
  if (stop_at_ && done >= *stop_at_) return stop_signal_;
  begun_ = done + 1;
  return 0;
}

void Rendezvous::note_failure(const std::string& line) {
  std::function<void(const std::string&)> act;
  {
    const std::lock_guard lock(mutex_);
    if (left_ || !failure_.empty()) return;
    failure_ = line;
    act = act_;
  }
  changed_.notify_all();
  if (act) act(line);
}

void Rendezvous::take(const Message& message) {
  const std::lock_guard lock(mutex_);
  switch (message.kind) {
    case MessageKind::welcome:
      hosts_ = lines_of(message.name);
      addresses_ = lines_of(message.text);
      welcomed_ = true;
      break;
    case MessageKind::value:
      values_[message.name] = message.text;
      asked_.erase(message.name);
      break;
    case MessageKind::pause:
      paused_ = true;
      stream_->send({MessageKind::begun, {begun_}});
      break;
    case MessageKind::stop_at:
      stop_at_ = message.numbers[0];
      stop_signal_ = static_cast<int>(message.numbers[1]);
      break;
    default:
      break;
  }
  changed_.notify_all();
}

/// Says that this rank is alive, and hears that rank 0 is.
void Rendezvous::watch() {
  Clock::time_point heard = Clock::now(), beat{}, looked = heard;
  const auto master = [&] { return rank_name(0, hosts_.empty() ? config_.master : hosts_.front()); };
  while (!ending_) {
    pollfd ready{stream_->socket().get(), POLLIN, 0};
    ::poll(&ready, 1, static_cast<int>(kTick.count()));
    const Clock::time_point now = Clock::now();
    if (now - looked > config_.limits.silence / 2) heard = now;  // this process was stopped for a while
    looked = now;
    if (now - beat >= kBetweenBeats) {
      beat = now;
      send({MessageKind::beat, {progress_.load(), waiting_.load() > 0}});
    }
    bool open = true;
    std::vector<Message> messages;
    try {
      const std::lock_guard lock(mutex_);
      stream_->flush();
      open = stream_->receive();
      for (Message message; stream_->next(message);) messages.push_back(message);
    } catch (const Error& error) {
      return note_failure(master() + " runs another version of zeroth");
    }
    if (!messages.empty()) heard = now;
    for (const Message& message : messages) {
      if (message.kind == MessageKind::failed) return note_failure(message.text);
      take(message);
    }
    if (!open) return note_failure(master() + " died");
    if (now - heard > config_.limits.silence)
      return note_failure(fmt::format("{} has been silent for {}: stopped, or its network is cut", master(),
                                      seconds_text(config_.limits.silence)));
  }
}

}  // namespace zeroth
