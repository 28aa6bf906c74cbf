#include "engine/parallel/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <thread>

#include "kernels/core/error.h"

namespace zeroth {

namespace {

constexpr std::chrono::milliseconds kBetweenAttempts{50};

using Addresses = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

/// Empty, with the reason, where the name is unknown.
Addresses resolve(const std::string& host, int port, std::string& reason) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int code = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found); code != 0)
    reason = ::gai_strerror(code);
  return {found, &::freeaddrinfo};
}

std::string text_of(const sockaddr_storage& address, socklen_t length) {
  std::array<char, NI_MAXHOST> host{};
  if (::getnameinfo(reinterpret_cast<const sockaddr*>(&address), length, host.data(), host.size(), nullptr, 0,
                    NI_NUMERICHOST) != 0)
    return "";
  const std::string text = host.data(), mapped = "::ffff:";  // IPv4 on a socket of both kinds
  return text.starts_with(mapped) ? text.substr(mapped.size()) : text;
}

/// An attempt that ends before the deadline. Empty, with the reason, where it fails.
Socket connect_once(const addrinfo& address, Clock::time_point deadline, std::string& reason) {
  Socket socket(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket ||
      (::connect(socket.get(), address.ai_addr, address.ai_addrlen) != 0 && errno != EINPROGRESS)) {
    reason = std::strerror(errno);
    return Socket();
  }
  // One attempt waits two seconds at most: a lost first packet is sent again no sooner than the next attempt.
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  pollfd ready{socket.get(), POLLOUT, 0};
  int error = ETIMEDOUT;
  socklen_t size = sizeof error;
  if (::poll(&ready, 1, static_cast<int>(std::clamp<long long>(left, 1, 2000))) == 1)
    ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error == 0) return socket;
  reason = std::strerror(error);
  return Socket();
}

}  // namespace

void Socket::close() {
  if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
}

Socket listen_on(int port) {
  const int on = 1, off = 0;
  Socket socket(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(static_cast<std::uint16_t>(port));
  sockaddr_in four{};
  four.sin_family = AF_INET;
  four.sin_port = six.sin6_port;
  const auto opened = [&](const void* address, socklen_t size) {
    ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    return ::bind(socket.get(), static_cast<const sockaddr*>(address), size) == 0 &&
           ::listen(socket.get(), SOMAXCONN) == 0;
  };
  if (socket) {
    ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (opened(&six, sizeof six)) return socket;
  }
  if (!socket || errno != EADDRINUSE) {  // a machine without IPv6
    socket = Socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (socket && opened(&four, sizeof four)) return socket;
  }
  fail(ErrorKind::runtime,
       fmt::format("cannot listen on port {} for the other ranks: {}{}", port, std::strerror(errno),
                   errno == EADDRINUSE ? "; choose another with MASTER_PORT, which is one less" : ""));
}

int port_of(const Socket& socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                                             : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

Socket connect_to(const std::string& host, int port, Clock::time_point deadline) {
  std::string reason = "no address";
  for (;;) {
    const Addresses addresses = resolve(host, port, reason);
    for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next)
      if (Socket socket = connect_once(*address, deadline, reason)) return socket;
    if (Clock::now() + kBetweenAttempts >= deadline) break;
    std::this_thread::sleep_for(kBetweenAttempts);
  }
  fail(ErrorKind::peer, fmt::format("cannot reach rank 0 at {}, port {}: {}", host, port, reason));
}

std::string own_address(const Socket& socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  return ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0
             ? text_of(address, size)
             : "";
}

std::string peer_address(const Socket& socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  return ::getpeername(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0
             ? text_of(address, size)
             : "";
}

bool is_loopback(const std::string& address) {
  return address.starts_with("127.") || address == "::1";
}

void make_prompt(const Socket& socket) {
  const int on = 1;
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::fcntl(socket.get(), F_SETFL, ::fcntl(socket.get(), F_GETFL) | O_NONBLOCK);
}

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "an unknown host";
}

}  // namespace zeroth
