#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/parallel/socket.h"

namespace zeroth {

/// What ranks and the server in rank 0 say to each other.
enum class MessageKind : std::uint8_t {
  hello,    ///< rank -> server: numbers = {rank, size, process id}, name = host
  welcome,  ///< server -> rank: all are there. name = the ranks' hosts, text = their addresses, by line
  set,      ///< rank -> server: name = key, text = value
  get,      ///< rank -> server: name = key; answered by `value` once the key is set
  value,    ///< server -> rank: name = key, text = value
  beat,     ///< either way: alive. From ranks numbers = {progress, waits for others}
  failed,   ///< rank -> server: text = why this rank ends. server -> rank: text = who failed, and how
  leave,    ///< rank -> server: has done its work
  stop,     ///< rank -> server: numbers = {signal}: asks all to end
  pause,    ///< server -> rank: begin no step until told where to stop
  begun,    ///< rank -> server: numbers = {steps begun}
  stop_at,  ///< server -> rank: numbers = {steps, signal}: end once so many are done
};
inline constexpr auto kLastMessageKind = MessageKind::stop_at;

struct Message {
  MessageKind kind;
  std::array<std::int64_t, 3> numbers{};
  std::string name = {}, text = {};
};

/// As it travels: a magic word, lengths, then the fields, all little-endian.
std::string encode(const Message& message);

/// Cuts a stream of bytes, in whatever pieces it arrives, into messages.
class MessageReader {
 public:
  void add(std::string_view bytes) { bytes_.append(bytes); }
  /// Whether there was a whole message. Throws Error(runtime) for bytes that no rank of this program sends.
  bool next(Message& message);

 private:
  std::string bytes_;
};

/// A connection that never waits: what cannot be sent yet is kept.
class MessageStream {
 public:
  explicit MessageStream(Socket socket) : socket_(std::move(socket)) { make_prompt(socket_); }

  const Socket& socket() const { return socket_; }
  void send(const Message& message);
  bool has_unsent() const { return !unsent_.empty(); }
  void flush();
  /// Takes in what has arrived. False where the other side has closed, or the connection is broken.
  bool receive();
  bool next(Message& message) { return reader_.next(message); }

 private:
  Socket socket_;
  MessageReader reader_;
  std::string unsent_;
};

}  // namespace zeroth
