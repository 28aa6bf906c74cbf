#pragma once

#include <chrono>
#include <string>
#include <utility>

namespace zeroth {

using Clock = std::chrono::steady_clock;

/// Owns a TCP socket.
class Socket {
 public:
  explicit Socket(int descriptor = -1) : descriptor_(descriptor) {}
  ~Socket() { close(); }
  Socket(Socket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    close();
    descriptor_ = std::exchange(other.descriptor_, -1);
    return *this;
  }

  int get() const { return descriptor_; }
  explicit operator bool() const { return descriptor_ >= 0; }
  void close();
  /// Gives up ownership.
  int release() { return std::exchange(descriptor_, -1); }

 private:
  int descriptor_;
};

/// Listens on all addresses of this machine, IPv4 and IPv6; port 0 takes a free one. Throws Error(runtime)
/// naming the port, "in use by another program" among others.
Socket listen_on(int port);
/// The port that a socket listens on.
int port_of(const Socket& socket);
/// Connects, trying again until the deadline, as the other side may be about to start. Throws Error(peer)
/// naming address, port and the last reason.
Socket connect_to(const std::string& host, int port, Clock::time_point deadline);
/// The numeric address of this end and of the other; empty where there is none.
std::string own_address(const Socket& socket);
std::string peer_address(const Socket& socket);
/// "127.0.0.1", "::1" and the like.
bool is_loopback(const std::string& address);
/// Reads and writes do not wait, and small messages are sent at once.
void make_prompt(const Socket& socket);
/// This machine's name.
std::string host_name();

}  // namespace zeroth
