#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace zeroth {

/// What the progress line shows.
struct ProgressState {
  std::int64_t epoch = 1, epochs = 1;  ///< the epoch under way, from 1 on
  std::int64_t step = 0, steps = 1;    ///< done in this epoch
  double loss = 0.0, accuracy = 0.0;   ///< of the epoch so far; accuracy in [0, 1]
  double images_per_second = 0.0;
  std::optional<double> of_ceiling;    ///< share of the device's measured matrix rate
  std::string note;                    ///< what must not be overlooked, such as "generated"
  std::optional<double> seconds_left;  ///< of the whole run
};

/// The line as it fits into `columns` characters: what matters least is left out first (the bar, the share of
/// the ceiling, the speed, the accuracy, the step). 0 columns: everything but the bar.
std::string progress_line(const ProgressState& state, int columns);

/// "43s", "12m05s", "3h07m", "2d03h".
std::string duration_text(double seconds);

/// Progress on a file descriptor, normally stderr. On a terminal one line is redrawn in place, a few times a
/// second, in the width the terminal has at that moment; elsewhere (a pipe, a file, TERM=dumb) a plain line
/// is written for every tenth of an epoch. Colour on a terminal only, and never with NO_COLOR set. An output
/// that has gone away is ignored: training goes on.
class Progress {
 public:
  Progress(int descriptor, bool quiet);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Shows the state now or later: cheap enough to call at every step.
  void update(const ProgressState& state);
  /// A line that stays, above the redrawn one; not silenced by quiet when `important`.
  void message(const std::string& line, bool important = false);
  /// Removes the redrawn line.
  void clear();
  /// Whether update() will draw: callers may then fetch numbers that are costly to get.
  bool due(std::int64_t step, std::int64_t steps) const;

 private:
  void write(const std::string& text) const;

  int descriptor_;
  bool quiet_, terminal_, colour_;
  bool drawn_ = false;
  double last_draw_ = -1.0;      // seconds of the steady clock
  std::int64_t last_tenth_ = 0;  // of the current epoch, in a pipe
  std::int64_t last_epoch_ = 0;
};

}  // namespace zeroth
