#include "engine/parallel/rank_message.h"

#include <sys/socket.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>

#include "kernels/core/error.h"

namespace zeroth {

namespace {

static_assert(std::endian::native == std::endian::little, "messages travel in the order of memory");

constexpr std::uint32_t kMagic = 0x31525a7a;                 // the protocol's name and version
constexpr std::uint32_t kMaxText = std::uint32_t{64} << 20;  // a checkpoint's configuration fits many times

struct Header {
  std::uint32_t magic, kind;
  std::array<std::int64_t, 3> numbers;
  std::uint32_t name, text;  // lengths
};
static_assert(sizeof(Header) == 40);

}  // namespace

std::string encode(const Message& message) {
  require(message.name.size() <= kMaxText && message.text.size() <= kMaxText,
          "a value too long for the rendezvous");
  const Header header{kMagic, static_cast<std::uint32_t>(message.kind), message.numbers,
                      static_cast<std::uint32_t>(message.name.size()),
                      static_cast<std::uint32_t>(message.text.size())};
  std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
  return bytes + message.name + message.text;
}

bool MessageReader::next(Message& message) {
  Header header;
  if (bytes_.size() < sizeof header) return false;
  std::memcpy(&header, bytes_.data(), sizeof header);
  if (header.magic != kMagic || header.kind > static_cast<std::uint32_t>(kLastMessageKind) ||
      header.name > kMaxText || header.text > kMaxText)
    fail(ErrorKind::runtime, "the other side is no rank of this version of zeroth");
  const std::size_t total = sizeof header + header.name + header.text;
  if (bytes_.size() < total) return false;
  message.kind = static_cast<MessageKind>(header.kind);
  message.numbers = header.numbers;
  message.name.assign(bytes_, sizeof header, header.name);
  message.text.assign(bytes_, sizeof header + header.name, header.text);
  bytes_.erase(0, total);
  return true;
}

void MessageStream::send(const Message& message) {
  unsent_ += encode(message);
  flush();
}

void MessageStream::flush() {
  while (!unsent_.empty()) {
    const ssize_t sent = ::send(socket_.get(), unsent_.data(), unsent_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) {
      if (errno != EAGAIN && errno != EWOULDBLOCK) unsent_.clear();  // broken: receive() tells
      return;
    }
    unsent_.erase(0, static_cast<std::size_t>(sent));
  }
}

bool MessageStream::receive() {
  std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t count = ::recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (count > 0) {
      reader_.add({buffer.data(), static_cast<std::size_t>(count)});
    } else if (count == 0) {
      return false;
    } else if (errno != EINTR) {
      return errno == EAGAIN || errno == EWOULDBLOCK;
    }
  }
}

}  // namespace zeroth
