#include "apps/launch.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <vector>

#include "apps/command_line.h"
#include "apps/find_checkpoint.h"
#include "apps/parse_value.h"
#include "apps/run_folder.h"
#include "engine/parallel/socket.h"
#include "engine/write_all.h"
#include "kernels/core/error.h"

namespace zeroth::app {

namespace {

constexpr const char* kListener = "ZEROTH_RANK_LISTENER";
constexpr std::chrono::seconds kToEndByThemselves{8}, kToEndWhenAsked{4};

volatile std::sig_atomic_t received_signal = 0, received_count = 0;

void note_signal(int signal) {
  received_signal = signal;
  received_count = received_count + 1;
}

struct Child {
  pid_t process = -1;
  int rank = 0;
  int errors = -1;     // what it says; -1 where that is the terminal's
  std::string unsaid;  // a line under way
  std::optional<int> code;
};

std::vector<std::string> own_arguments() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> words;
  for (std::string word; std::getline(file, word, '\0');) words.push_back(word);
  if (words.empty()) fail(ErrorKind::runtime, "cannot read /proc/self/cmdline, which ranks are started from");
  return words;
}

/// In the new process: becomes a rank, or exits.
[[noreturn]] void become_rank(int rank, int size, const Socket& listener, int errors,
                              std::vector<std::string> words, const sigset_t& mask, pid_t parent) {
  // A process group of its own: the terminal's SIGINT reaches it through the launcher only, once.
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(143);
  const std::array<std::pair<const char*, std::string>, 6> variables{
      {{"RANK", std::to_string(rank)},
       {"WORLD_SIZE", std::to_string(size)},
       {"LOCAL_RANK", std::to_string(rank)},
       {"LOCAL_WORLD_SIZE", std::to_string(size)},
       {"MASTER_ADDR", "127.0.0.1"},
       {"MASTER_PORT", std::to_string(port_of(listener) - 1)}}};
  for (const auto& [name, value] : variables) ::setenv(name, value.c_str(), 1);
  if (rank == 0) {
    ::fcntl(listener.get(), F_SETFD, 0);  // stays open across exec
    ::setenv(kListener, std::to_string(listener.get()).c_str(), 1);
  } else {
    ::unsetenv(kListener);
    ::dup2(errors, STDERR_FILENO);
    ::dup2(errors, STDOUT_FILENO);
  }
  ::sigprocmask(SIG_SETMASK, &mask, nullptr);
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  ::execv("/proc/self/exe", pointers.data());
  ::_exit(127);
}

class Launch {
 public:
  Launch(int size, std::vector<std::string> words) {
    Socket listener = listen_on(0);
    sigset_t both, before;
    sigemptyset(&both);
    sigaddset(&both, SIGINT);
    sigaddset(&both, SIGTERM);
    ::sigprocmask(SIG_BLOCK, &both, &before);
    for (int rank = 0; rank < size; ++rank) {
      int ends[2] = {-1, -1};
      if (rank > 0 && ::pipe2(ends, O_CLOEXEC) != 0) break;
      const pid_t parent = ::getpid(), process = ::fork();
      if (process == 0) become_rank(rank, size, listener, ends[1], words, before, parent);
      if (ends[1] >= 0) ::close(ends[1]);
      if (process < 0) break;
      children_.push_back({process, rank, ends[0], "", {}});
    }
    const int error = errno;
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    if (static_cast<int>(children_.size()) == size) return;
    kill_all(SIGKILL);
    wait();
    fail(ErrorKind::runtime, fmt::format("cannot start {} processes: {}", size, std::strerror(error)));
  }
  ~Launch() {
    for (const Child& child : children_)
      if (child.errors >= 0) ::close(child.errors);
  }
  Launch(const Launch&) = delete;
  Launch& operator=(const Launch&) = delete;

  /// Until all have ended. The code of the one that failed first; a rank that ended as another had failed (5)
  /// is not the first where any other code is found.
  int wait() {
    int passed_on = received_count, code = 0;
    std::optional<Clock::time_point> failed;
    bool asked = false;
    while (running()) {
      pass_on_lines(100);
      for (; passed_on < received_count; ++passed_on) kill_all(received_signal);
      for (Child& child : children_) {
        int status = 0;
        if (child.code || ::waitpid(child.process, &status, WNOHANG) != child.process) continue;
        child.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        if (*child.code == 0) continue;
        if (code == 0 || (code == static_cast<int>(ErrorKind::peer) && !asked)) code = *child.code;
        if (!failed) failed = Clock::now();
      }
      if (!failed || !running()) continue;
      const auto since = Clock::now() - *failed;
      if (since > kToEndByThemselves && !std::exchange(asked, true)) kill_all(SIGTERM);
      if (since > kToEndByThemselves + kToEndWhenAsked) kill_all(SIGKILL);
    }
    while (pass_on_lines(0)) {
    }
    return code;
  }

 private:
  bool running() const {
    for (const Child& child : children_)
      if (!child.code) return true;
    return false;
  }
  void kill_all(int signal) const {
    for (const Child& child : children_)
      if (!child.code) {
        ::kill(child.process, signal);
        if (signal != SIGKILL) ::kill(child.process, SIGCONT);  // one that was stopped hears it, too
      }
  }
  /// Whether anything was read.
  bool pass_on_lines(int milliseconds) {
    std::vector<pollfd> watched;
    for (const Child& child : children_)
      if (child.errors >= 0) watched.push_back({child.errors, POLLIN, 0});
    if (::poll(watched.data(), watched.size(), milliseconds) <= 0) return false;
    bool any = false;
    for (Child& child : children_) {
      const auto found = std::find_if(watched.begin(), watched.end(), [&](const pollfd& one) {
        return one.fd == child.errors && one.revents != 0;
      });
      if (child.errors < 0 || found == watched.end()) continue;
      std::array<char, 4096> buffer;
      const ssize_t count = ::read(child.errors, buffer.data(), buffer.size());
      if (count > 0) {
        any = true;
        child.unsaid.append(buffer.data(), static_cast<std::size_t>(count));
      } else if (count == 0 || errno != EINTR) {
        if (!child.unsaid.empty()) child.unsaid += '\n';
        ::close(std::exchange(child.errors, -1));
      }
      for (std::size_t end; (end = child.unsaid.find('\n')) != std::string::npos;) {
        say(fmt::format("rank {}: {}", child.rank, child.unsaid.substr(0, end)));
        child.unsaid.erase(0, end + 1);
      }
    }
    return any;
  }

  std::vector<Child> children_;
};

/// Where the run goes, so that it can be gone on with. Chosen here where the command line leaves it open.
std::optional<RunFolder> find_run_folder(const Said& said, const TrainOptions& options,
                                         std::vector<std::string>& words) {
  const Assignment* const resume = last_said(said, "resume");
  if (!options.out.empty()) return RunFolder(options.out);
  if (resume != nullptr) {
    const auto checkpoint = find_resume_checkpoint(resume->text, "");
    if (checkpoint) return run_folder_of(checkpoint->path);
  }
  const RunFolder chosen = make_run_folder(options.model);
  words.insert(words.end(), {"--out", chosen.path().string()});
  return chosen;
}

/// Whether the same may go well the next time.
bool may_go_well(int code) {
  return code == static_cast<int>(ErrorKind::runtime) || code == static_cast<int>(ErrorKind::peer) ||
         code > 6;
}

}  // namespace

int inherited_listener() {
  const char* text = std::getenv(kListener);
  if (text == nullptr) return -1;
  const auto descriptor = static_cast<int>(parse_integer(text, 0, 1 << 20));
  ::unsetenv(kListener);
  return ::fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0 ? descriptor : -1;
}

int launch_ranks(const Said& said, const TrainOptions& options) {
  std::vector<std::string> words = own_arguments();
  const auto folder = options.max_restarts > 0 ? find_run_folder(said, options, words) : std::nullopt;
  struct sigaction action {};
  action.sa_handler = note_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  for (std::int64_t restarts = 0;; ++restarts) {
    std::vector<std::string> attempt = words;
    if (restarts > 0 && std::filesystem::exists(folder->last()))
      for (const char* flag : {"--resume", "--out"})
        attempt.insert(attempt.end(), {flag, folder->path().string()});
    const int code = Launch(static_cast<int>(*options.ranks), attempt).wait();
    if (code == 0 || received_signal != 0 || restarts >= options.max_restarts || !may_go_well(code))
      return code;
    say(fmt::format("a rank failed with exit code {}: starting all again, {} of {} times", code, restarts + 1,
                    options.max_restarts));
  }
}

}  // namespace zeroth::app
