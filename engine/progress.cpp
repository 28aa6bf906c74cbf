#include "engine/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <string_view>

#include "engine/write_all.h"

namespace zeroth {

namespace {

constexpr double kRedrawSeconds = 0.2;
constexpr int kMinBar = 8, kMaxBar = 30;
constexpr const char* kGap = "  ";
constexpr const char* kClearLine = "\r\x1b[K";

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

bool set(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0';
}

/// Read at every draw rather than on SIGWINCH: nothing to install, nothing to race with.
int width_of(int descriptor) {
  winsize size{};
  return ::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string percent(double fraction, int digits) {
  return std::isfinite(fraction) ? fmt::format("{:.{}f}%", 100.0 * fraction, digits) : "-";
}

std::string speed_text(double images_per_second) {
  return images_per_second < 10.0 ? fmt::format("{:.2f} img/s", images_per_second)
                                  : fmt::format("{:.0f} img/s", images_per_second);
}

std::string bar_text(double fraction, int width) {
  const int inside = width - 2;
  const int full = static_cast<int>(std::clamp(fraction, 0.0, 1.0) * inside);
  std::string bar(static_cast<std::size_t>(inside), ' ');
  std::fill_n(bar.begin(), full, '=');
  if (full < inside) bar[static_cast<std::size_t>(full)] = '>';
  return '[' + bar + ']';
}

}  // namespace

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e9) return "-";
  const auto s = static_cast<std::int64_t>(std::llround(seconds));
  if (s < 60) return fmt::format("{}s", s);
  if (s < 3600) return fmt::format("{}m{:02}s", s / 60, s % 60);
  if (s < 86400) return fmt::format("{}h{:02}m", s / 3600, s % 3600 / 60);
  return fmt::format("{}d{:02}h", s / 86400, s % 86400 / 3600);
}

std::string progress_line(const ProgressState& state, int columns) {
  // In the order shown; `rank` says in which order they claim their place.
  struct Field {
    std::string text;
    int rank;
    bool shown = false;
  };
  const auto digits = static_cast<int>(std::to_string(state.steps).size());
  std::array<Field, 8> fields{
      {{fmt::format("epoch {}/{}", state.epoch, state.epochs), 0},
       {fmt::format("step {:>{}}/{}", state.step, digits, state.steps), 4},
       {fmt::format("loss {:.4f}", state.loss), 1},
       {fmt::format("acc {}", percent(state.accuracy, 1)), 5},
       {speed_text(state.images_per_second), 6},
       {state.of_ceiling ? fmt::format("{} of peak", percent(*state.of_ceiling, 0)) : "", 7},
       {state.seconds_left ? fmt::format("ETA {}", duration_text(*state.seconds_left)) : "", 2},
       {state.note, 3}}};
  const std::size_t limit = columns > 0 ? static_cast<std::size_t>(columns) : 1000;
  const std::string_view gap = kGap;
  std::size_t used = 0;
  for (int rank = 0; rank < static_cast<int>(fields.size()); ++rank) {
    Field& field =
        *std::find_if(fields.begin(), fields.end(), [&](const Field& f) { return f.rank == rank; });
    if (field.text.empty()) continue;
    const std::size_t wanted = field.text.size() + (used > 0 ? gap.size() : 0);
    if (used + wanted > limit) break;
    field.shown = true;
    used += wanted;
  }
  std::string line;
  for (const Field& field : fields) {
    if (!field.shown) continue;
    if (!line.empty()) line += gap;
    line += field.text;
    const int room = columns - static_cast<int>(used + gap.size());
    if (columns > 0 && field.rank == 0 && room >= kMinBar)
      line += kGap + bar_text(static_cast<double>(state.step) / static_cast<double>(state.steps),
                              std::min(room, kMaxBar));
  }
  if (line.empty()) line = fields[0].text.substr(0, limit);
  return line;
}

Progress::Progress(int descriptor, bool quiet)
    : descriptor_(descriptor),
      quiet_(quiet),
      terminal_(::isatty(descriptor) == 1 &&
                std::string_view(set("TERM") ? std::getenv("TERM") : "") != "dumb"),
      colour_(terminal_ && !set("NO_COLOR")) {}

Progress::~Progress() {
  clear();
}

bool Progress::due(std::int64_t step, std::int64_t steps) const {
  if (quiet_) return false;
  if (terminal_) return now() - last_draw_ >= kRedrawSeconds;
  return step * 10 / std::max<std::int64_t>(steps, 1) != last_tenth_;
}

void Progress::update(const ProgressState& state) {
  if (state.epoch != last_epoch_) {
    last_epoch_ = state.epoch;
    last_tenth_ = 0;
  }
  if (!due(state.step, state.steps)) return;
  last_tenth_ = state.step * 10 / std::max<std::int64_t>(state.steps, 1);
  last_draw_ = now();
  if (!terminal_) {
    write(progress_line(state, 0) + '\n');
    return;
  }
  // One column stays free: a full line would wrap, and the next redraw would start a line too low.
  std::string line = progress_line(state, std::max(1, width_of(descriptor_) - 1));
  const std::size_t head = line.find(kGap);
  if (colour_ && head != std::string::npos)
    line = "\x1b[1m" + line.substr(0, head) + "\x1b[0m" + line.substr(head);
  write(kClearLine + line);
  drawn_ = true;
}

void Progress::message(const std::string& line, bool important) {
  if (quiet_ && !important) return;
  clear();
  write(line + '\n');
}

void Progress::clear() {
  if (drawn_) write(kClearLine);
  drawn_ = false;
}

void Progress::write(const std::string& text) const {
  static_cast<void>(write_all(descriptor_, text));
}

}  // namespace zeroth
