#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace zeroth::plot {

/// Coverage of one letter, 0 to 255, rows from above. `left` and `top` lead from the pen on the baseline to
/// the upper left pixel.
struct Glyph {
  int left = 0, top = 0, width = 0, height = 0;
  std::vector<std::uint8_t> coverage;
};

/// The letters of a text as Unicode code points; a byte that is no UTF-8 becomes U+FFFD.
std::vector<int> code_points(const std::string& text);

/// Where the pen stands before each letter, and after the last, for an em of `size`; kerned.
std::vector<double> pen_positions(const std::vector<int>& text, double size);

/// The letter with its pen at (shift_x, shift_y) within a pixel, both in [0, 1).
Glyph render(int code_point, double size, double shift_x, double shift_y);

}  // namespace zeroth::plot
