#include "tests/data/http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "kernels/core/error.h"

namespace zeroth::test {
namespace {

bool send_all(int connection, const char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t count = ::send(connection, data, size, MSG_NOSIGNAL);
    if (count <= 0) return false;
    data += count;
    size -= static_cast<std::size_t>(count);
  }
  return true;
}

/// Everything up to the empty line; requests without a body are all that comes.
std::string read_request(int connection) {
  std::string request;
  char piece[4096];
  while (request.find("\r\n\r\n") == std::string::npos) {
    const ssize_t count = ::recv(connection, piece, sizeof piece, 0);
    if (count <= 0) break;
    request.append(piece, static_cast<std::size_t>(count));
  }
  return request;
}

/// The value of "Range: ..." or "".
std::string range_of(const std::string& request) {
  const std::string header = "\r\nRange: ";
  const std::size_t begin = request.find(header);
  if (begin == std::string::npos) return "";
  const std::size_t value = begin + header.size();
  return request.substr(value, request.find("\r\n", value) - value);
}

}  // namespace

HttpServer::HttpServer(std::string body) : body_(std::move(body)) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (listener_ < 0 || ::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::listen(listener_, 8) != 0 ||
      ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    fail(ErrorKind::runtime, "the test server found no port on the loopback interface");
  }
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { serve(); });
}

HttpServer::~HttpServer() {
  stop_ = true;
  thread_.join();
  ::close(listener_);
}

std::string HttpServer::url() const {
  return "http://127.0.0.1:" + std::to_string(port_) + "/";
}

void HttpServer::next(std::vector<Behaviour> behaviours) {
  const std::lock_guard lock(mutex_);
  behaviours_ = std::move(behaviours);
}

std::vector<std::string> HttpServer::ranges_seen() const {
  const std::lock_guard lock(mutex_);
  return ranges_;
}

void HttpServer::serve() {
  while (!stop_) {
    pollfd waiting{listener_, POLLIN, 0};
    if (::poll(&waiting, 1, 20) <= 0) continue;
    const int connection = ::accept(listener_, nullptr, nullptr);
    if (connection < 0) continue;
    answer(connection);
    ::close(connection);
  }
}

void HttpServer::answer(int connection) {
  const std::string request = read_request(connection);
  const std::string range = range_of(request);
  Behaviour behaviour;
  {
    const std::lock_guard lock(mutex_);
    ranges_.push_back(range);
    behaviour = behaviours_.front();
    if (behaviours_.size() > 1) behaviours_.erase(behaviours_.begin());
  }
  int status = behaviour.status;
  std::string extra, body = body_;
  if (!behaviour.redirect_to.empty()) {
    status = 302;
    extra = "Location: " + behaviour.redirect_to + "\r\n";
    body.clear();
  } else if (status != 200) {
    body = "no\n";
  } else if (behaviour.ranges && range.starts_with("bytes=")) {
    const std::size_t begin = std::stoul(range.substr(6));
    status = begin < body.size() ? 206 : 416;
    extra = "Content-Range: bytes " + std::to_string(begin) + "-" + std::to_string(body.size() - 1) + "/" +
            std::to_string(body.size()) + "\r\n";
    body = begin < body.size() ? body.substr(begin) : "";
  }
  const std::string head = "HTTP/1.1 " + std::to_string(status) +
                           " as told\r\nConnection: close\r\nContent-Type: " + behaviour.content_type +
                           "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + extra + "\r\n";
  if (!send_all(connection, head.data(), head.size())) return;
  std::size_t size = body.size();
  if (behaviour.stall) size /= 2;
  if (behaviour.hang_up_after > 0) size = std::min<std::size_t>(size, behaviour.hang_up_after);
  send_all(connection, body.data(), size);
  while (behaviour.stall && !stop_) ::poll(nullptr, 0, 10);
}

}  // namespace zeroth::test
