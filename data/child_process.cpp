#include "data/child_process.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <new>
#include <system_error>

#include "kernels/core/error.h"

namespace zeroth {

namespace {

constexpr int kSocket = 3;  // the child's; 0 to 2 are stdin, stdout and stderr
constexpr std::uint32_t kLongestMessage = std::uint32_t{1} << 30;

/// The first byte of a message of the child.
enum Outcome : std::uint8_t { answered, refused, out_of_memory, failed };

bool send_all(int socket, std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return true;
}

bool receive_all(int socket, std::span<std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::recv(socket, bytes.data(), bytes.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count == 0) errno = 0;
    if (count <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return true;
}

/// A message is its length in four bytes of this machine, and its bytes.
bool send_message(int socket, std::span<const std::uint8_t> bytes) {
  const auto length = static_cast<std::uint32_t>(bytes.size());
  std::array<std::uint8_t, 4> head;
  std::memcpy(head.data(), &length, 4);
  return send_all(socket, head) && send_all(socket, bytes);
}

bool receive_message(int socket, ChildProcess::Bytes& bytes) {
  std::array<std::uint8_t, 4> head;
  if (!receive_all(socket, head)) return false;
  std::uint32_t length = 0;
  std::memcpy(&length, head.data(), 4);
  if (length > kLongestMessage) return false;
  bytes.resize(length);
  return receive_all(socket, bytes);
}

ChildProcess::Bytes with_outcome(Outcome outcome, std::span<const std::uint8_t> bytes) {
  ChildProcess::Bytes message(1 + bytes.size());
  message.front() = outcome;
  std::copy(bytes.begin(), bytes.end(), message.begin() + 1);
  return message;
}

ChildProcess::Bytes with_outcome(Outcome outcome, const std::string& text) {
  return with_outcome(outcome, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

/// What the child answers to a question, or why it does not.
ChildProcess::Bytes outcome_of(const ChildProcess::Answer& answer, std::span<const std::uint8_t> question) {
  try {
    return with_outcome(answered, answer(question));
  } catch (const Error& error) {
    return with_outcome(refused, static_cast<char>(error.kind()) + std::string(error.what()));
  } catch (const std::bad_alloc&) {
    return with_outcome(out_of_memory, std::string());
  } catch (const std::exception& error) {
    return with_outcome(failed, std::string(error.what()));
  }
}

void close_files_from(int first) {
#ifdef SYS_close_range
  if (::syscall(SYS_close_range, static_cast<unsigned>(first), ~0U, 0U) == 0) return;
#endif
  const long most = ::sysconf(_SC_OPEN_MAX);
  for (int descriptor = first; descriptor < (most > 0 && most < 65536 ? most : 65536); ++descriptor)
    ::close(descriptor);
}

void limit(int resource, rlim_t most) {
  rlimit now{};
  if (::getrlimit(static_cast<__rlimit_resource>(resource), &now) != 0) return;
  now.rlim_cur = std::min(most, now.rlim_max);
  ::setrlimit(static_cast<__rlimit_resource>(resource), &now);
}

/// Bytes of addresses that this process has.
std::uint64_t address_space() {
  unsigned long long pages = 0;
  if (std::FILE* const file = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(file, "%llu", &pages) != 1) pages = 0;
    std::fclose(file);
  }
  return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

/// The life of the child: never returns, and runs nothing that is meant for the end of the program.
[[noreturn]] void serve(int socket, const ChildProcess::Answer& answer, const ChildLimits& limits) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE})
    std::signal(signal, SIG_IGN);
  for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) std::signal(signal, SIG_DFL);
  if (socket != kSocket) ::dup2(socket, kSocket);
  close_files_from(kSocket + 1);
  limit(RLIMIT_CORE, 0);
  if (const std::uint64_t now = address_space(); now > 0) limit(RLIMIT_AS, now + limits.memory);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ChildProcess::Bytes question;
  while (receive_message(kSocket, question) && send_message(kSocket, outcome_of(answer, question))) {
  }
  ::_exit(0);
}

}  // namespace

ChildProcess::ChildProcess(Answer answer, ChildLimits limits) : answer_(std::move(answer)), limits_(limits) {}

ChildProcess::~ChildProcess() {
  end();
}

void ChildProcess::start() {
  std::array<int, 2> sockets{};
  const auto refuse = [](const char* what) {
    fail(ErrorKind::runtime, fmt::format("cannot start a process for decoding: {}: {}", what,
                                         std::generic_category().message(errno)));
  };
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()) != 0) refuse("socketpair");
  const timeval patience{static_cast<time_t>(limits_.answer.count()), 0};
  ::setsockopt(sockets[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  // A handler of this process must not run in the child before it has let go of its signals.
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t child = ::fork();
  if (child == 0) serve(sockets[1], answer_, limits_);
  const int reason = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::close(sockets[1]);
  if (child < 0) {
    ::close(sockets[0]);
    errno = reason;
    refuse("fork");
  }
  socket_ = sockets[0];
  process_ = child;
}

void ChildProcess::end() noexcept {
  if (process_ < 0) return;
  ::close(socket_);
  ::kill(process_, SIGKILL);
  while (::waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
  }
  process_ = socket_ = -1;
}

void ChildProcess::fail_ended(bool too_late) {
  if (too_late) {
    end();
    throw ChildFailed(fmt::format("gave no answer for {} seconds", limits_.answer.count()));
  }
  int status = 0;
  pid_t waited = 0;
  ::shutdown(socket_, SHUT_RDWR);  // a child that lives on finds its end here
  do {
    waited = ::waitpid(process_, &status, 0);
  } while (waited < 0 && errno == EINTR);
  ::close(socket_);
  process_ = socket_ = -1;
  if (waited > 0 && WIFSIGNALED(status))
    throw ChildFailed(
        fmt::format("ended with signal {} ({})", WTERMSIG(status), ::strsignal(WTERMSIG(status))));
  throw ChildFailed(fmt::format("ended with exit status {}", waited > 0 ? WEXITSTATUS(status) : -1));
}

ChildProcess::Bytes ChildProcess::ask(std::span<const std::uint8_t> question) {
  if (process_ < 0) start();
  Bytes message;
  if (!send_message(socket_, question)) fail_ended(false);
  if (!receive_message(socket_, message)) fail_ended(errno == EAGAIN || errno == EWOULDBLOCK);
  if (message.empty()) throw ChildFailed("gave an empty answer");
  const auto outcome = static_cast<Outcome>(message.front());
  message.erase(message.begin());
  if (outcome == answered) return message;
  const std::string text(message.begin(), message.end());
  end();  // whatever state the answer has left behind goes with it
  if (outcome == refused && !text.empty()) fail(static_cast<ErrorKind>(text.front()), text.substr(1));
  if (outcome == out_of_memory)
    throw ChildFailed(fmt::format("took more than {} MB of memory", limits_.memory >> 20));
  throw ChildFailed(fmt::format("failed: {}", text));
}

}  // namespace zeroth
