#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace zeroth::test {

/// What the server does with one request for its file.
struct Behaviour {
  int status = 200;                 ///< other than 200: a short answer with that status
  bool ranges = true;               ///< honours "Range: bytes=N-" with a 206; false: always sends everything
  std::uint64_t hang_up_after = 0;  ///< closes the connection after so many bytes of the body; 0: never
  bool stall = false;               ///< sends half of the body, then nothing until the server is stopped
  std::string redirect_to;          ///< answers with a 302 to this address
  std::string content_type = "application/x-gzip";
};

/// A one-connection-at-a-time HTTP/1.1 server on the loopback interface, for one file, that can misbehave.
class HttpServer {
 public:
  explicit HttpServer(std::string body);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// "http://127.0.0.1:PORT/"
  std::string url() const;
  /// The behaviour of the coming requests; the last one stays in force.
  void next(std::vector<Behaviour> behaviours);
  /// The Range header of each request so far, "" where there was none.
  std::vector<std::string> ranges_seen() const;

 private:
  void serve();
  void answer(int connection);

  std::string body_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> stop_ = false;
  mutable std::mutex mutex_;
  std::vector<Behaviour> behaviours_{Behaviour{}};
  std::vector<std::string> ranges_;
  std::thread thread_;
};

}  // namespace zeroth::test
