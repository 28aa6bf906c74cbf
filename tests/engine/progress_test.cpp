#include "engine/progress.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <csignal>
#include <limits>
#include <thread>

#include "tests/data/scratch.h"

using namespace zeroth;
using namespace zeroth::test;

namespace {

ProgressState state_at(std::int64_t step) {
  ProgressState state;
  state.epoch = 3;
  state.epochs = 10;
  state.step = step;
  state.steps = 390;
  state.loss = 0.81234;
  state.accuracy = 0.7123;
  state.images_per_second = 912.4;
  state.of_ceiling = 0.43;
  state.seconds_left = 192.0;
  return state;
}

/// What has arrived at a descriptor so far.
std::string drain(int descriptor) {
  std::string text;
  char buffer[4096];
  pollfd waiting{descriptor, POLLIN, 0};
  while (::poll(&waiting, 1, 50) > 0 && (waiting.revents & POLLIN) != 0) {
    const ssize_t count = ::read(descriptor, buffer, sizeof buffer);
    if (count <= 0) break;
    text.append(buffer, static_cast<std::size_t>(count));
  }
  return text;
}

struct Terminal {
  int master = -1, slave = -1;
  explicit Terminal(unsigned short columns) {
    winsize size{24, columns, 0, 0};
    REQUIRE(::openpty(&master, &slave, nullptr, nullptr, &size) == 0);
  }
  ~Terminal() {
    ::close(master);
    ::close(slave);
  }
  void resize(unsigned short columns) const {
    const winsize size{24, columns, 0, 0};
    REQUIRE(::ioctl(master, TIOCSWINSZ, &size) == 0);
  }
};

struct Pipe {
  int read_end = -1, write_end = -1;
  Pipe() {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    read_end = ends[0];
    write_end = ends[1];
  }
  ~Pipe() {
    ::close(read_end);
    ::close(write_end);
  }
};

/// The text without escape sequences and carriage returns.
std::string visible(const std::string& text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b') {
      while (i < text.size() && std::isalpha(static_cast<unsigned char>(text[i])) == 0) ++i;
    } else if (text[i] != '\r') {
      plain += text[i];
    }
  }
  return plain;
}

}  // namespace

TEST_CASE("durations are short", "[progress]") {
  CHECK(duration_text(0.4) == "0s");
  CHECK(duration_text(59.4) == "59s");
  CHECK(duration_text(59.6) == "1m00s");
  CHECK(duration_text(725) == "12m05s");
  CHECK(duration_text(3 * 3600 + 7 * 60) == "3h07m");
  CHECK(duration_text(2 * 86400 + 3 * 3600) == "2d03h");
  CHECK(duration_text(std::numeric_limits<double>::infinity()) == "-");
  CHECK(duration_text(std::numeric_limits<double>::quiet_NaN()) == "-");
}

TEST_CASE("the progress line fits every width", "[progress]") {
  const ProgressState state = state_at(117);
  CHECK(progress_line(state, 0) ==
        "epoch 3/10  step 117/390  loss 0.8123  acc 71.2%  912 img/s  43% of peak  ETA 3m12s");
  CHECK(contains(progress_line(state, 120), "epoch 3/10  [========>"));
  for (int columns = 1; columns <= 200; ++columns) {
    CAPTURE(columns);
    const std::string line = progress_line(state, columns);
    CHECK(line.size() <= static_cast<std::size_t>(columns));
    CHECK_FALSE(line.empty());
    if (columns >= 10) CHECK(contains(line, "epoch 3/10"));
    if (columns >= 40) CHECK((contains(line, "loss 0.8123") && contains(line, "ETA 3m12s")));
    if (columns >= 79) CHECK((contains(line, "912 img/s") && contains(line, "step 117/390")));
  }
}

TEST_CASE("numbers that are not there or not finite do not disturb the line", "[progress]") {
  ProgressState state = state_at(1);
  state.of_ceiling.reset();
  state.seconds_left.reset();
  state.loss = std::numeric_limits<double>::quiet_NaN();
  state.images_per_second = 0.123;
  const std::string line = progress_line(state, 0);
  CHECK(line == "epoch 3/10  step   1/390  loss nan  acc 71.2%  0.12 img/s");
}

TEST_CASE("on a terminal one line is redrawn, in the width of the moment", "[progress]") {
  const EnvironmentGuard term("TERM", "xterm"), no_color("NO_COLOR", std::nullopt);
  const Terminal terminal(80);
  {
    Progress progress(terminal.slave, false);
    progress.update(state_at(1));
    const std::string first = drain(terminal.master);
    CHECK(first.starts_with("\r\x1b[K"));
    CHECK(contains(first, "\x1b[1m"));
    CHECK(visible(first).find('\n') == std::string::npos);
    CHECK(visible(first).size() < 80);

    progress.update(state_at(2));  // too soon to draw again
    CHECK(drain(terminal.master).empty());

    terminal.resize(30);
    std::this_thread::sleep_for(std::chrono::milliseconds(250));
    CHECK(progress.due(3, 390));
    progress.update(state_at(3));
    const std::string narrow = visible(drain(terminal.master));
    CHECK(contains(narrow, "epoch 3/10"));
    CHECK(narrow.size() < 30);

    progress.message("epoch 3 done");
    CHECK(drain(terminal.master) == "\r\x1b[Kepoch 3 done\r\n");
    std::this_thread::sleep_for(std::chrono::milliseconds(250));
    progress.update(state_at(4));
    drain(terminal.master);
  }
  CHECK(drain(terminal.master) == "\r\x1b[K");  // nothing stays behind
}

TEST_CASE("NO_COLOR takes the colour and dumb terminals get plain lines", "[progress]") {
  const Terminal terminal(80);
  {
    const EnvironmentGuard term("TERM", "xterm"), no_color("NO_COLOR", "1");
    Progress progress(terminal.slave, false);
    progress.update(state_at(1));
    const std::string text = drain(terminal.master);
    CHECK(text.starts_with("\r\x1b[K"));
    CHECK(text.find("\x1b[1m") == std::string::npos);
  }
  drain(terminal.master);
  const EnvironmentGuard term("TERM", "dumb");
  Progress progress(terminal.slave, false);
  progress.update(state_at(39));
  CHECK(drain(terminal.master).find('\x1b') == std::string::npos);
}

TEST_CASE("in a pipe plain lines come for every tenth of an epoch", "[progress]") {
  const Pipe pipe;
  Progress progress(pipe.write_end, false);
  for (std::int64_t epoch = 1; epoch <= 2; ++epoch) {
    for (std::int64_t step = 1; step <= 390; ++step) {
      ProgressState state = state_at(step);
      state.epoch = epoch;
      progress.update(state);
    }
  }
  const std::string text = drain(pipe.read_end);
  CHECK(std::count(text.begin(), text.end(), '\n') == 20);
  CHECK(text.find('\x1b') == std::string::npos);
  CHECK(text.find('\r') == std::string::npos);
  CHECK(contains(text, "epoch 1/10  step 390/390"));
  CHECK(contains(text, "epoch 2/10  step  39/390"));
}

TEST_CASE("quiet says only what is important", "[progress]") {
  const Pipe pipe;
  Progress progress(pipe.write_end, true);
  progress.update(state_at(390));
  progress.message("an epoch has ended");
  CHECK(drain(pipe.read_end).empty());
  progress.message("saved", true);
  CHECK(drain(pipe.read_end) == "saved\n");
}

TEST_CASE("a reader that went away does not end the training", "[progress]") {
  const auto before = std::signal(SIGPIPE, SIG_IGN);
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  ::close(ends[0]);
  {
    Progress progress(ends[1], false);
    progress.update(state_at(390));
    progress.message("still here");
  }
  ::close(ends[1]);
  std::signal(SIGPIPE, before);
}
