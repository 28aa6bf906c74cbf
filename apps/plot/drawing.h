#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace zeroth::plot {

/// 8-bit sRGB; `alpha` from 0, invisible, to 1.
struct Colour {
  std::uint8_t red = 0, green = 0, blue = 0;
  double alpha = 1.0;
};

/// In units of the drawing, which are pixels of an SVG: x to the right, y down, from the upper left corner.
struct Point {
  double x = 0.0, y = 0.0;
};

/// Joined with round corners and ends. `dash` > 0: strokes of that length with gaps as long.
struct Polyline {
  std::vector<Point> points;
  double width = 1.0;
  Colour colour = {};
  double dash = 0.0;
};

struct Rectangle {
  Point corner;  ///< upper left
  double width = 0.0, height = 0.0;
  Colour fill = {};
};

/// A filled circle or convex polygon.
struct Disc {
  Point centre;
  double radius = 1.0;
  Colour fill = {};
};
struct Polygon {
  std::vector<Point> corners;
  Colour fill = {};
};

/// Where a text's point lies along it.
enum class Align : std::uint8_t { start, middle, end };

/// One line of UTF-8 in DejaVu Sans. `at` lies half the height of a capital above the baseline, so that text
/// beside a mark is level with it. `upwards`: turned by 90 degrees, to be read from below.
struct Text {
  Point at;
  std::string text;
  double size = 12.0;  ///< of an em
  Align align = Align::start;
  Colour colour = {};
  bool upwards = false;
};

/// What was drawn, in order; later marks cover earlier ones. Written as PNG and as SVG from the same marks.
class Drawing {
 public:
  using Mark = std::variant<Polyline, Rectangle, Disc, Polygon, Text>;

  /// On white.
  Drawing(double width, double height) : width_(width), height_(height) {}

  void add(Mark mark) { marks_.push_back(std::move(mark)); }

  double width() const { return width_; }
  double height() const { return height_; }
  const std::vector<Mark>& marks() const { return marks_; }

 private:
  double width_, height_;
  std::vector<Mark> marks_;
};

/// Width of a line of text in units of the drawing.
double text_width(const std::string& text, double size);
/// Height of a capital letter.
double capital_height(double size);

/// Pixels of a drawing: rows from above, red, green, blue.
struct Raster {
  int width = 0, height = 0;
  std::vector<std::uint8_t> rgb;
};

/// Antialiased; `scale` pixels a unit.
Raster rasterise(const Drawing& drawing, double scale);

std::string to_png(const Drawing& drawing, double scale = 2.0);
std::string to_svg(const Drawing& drawing);

/// The drawing as a file in the format that the name ends in, .png or .svg. Throws Error(usage) for another
/// ending, Error(runtime) where the file cannot be written.
void write_drawing(const Drawing& drawing, const std::string& path);
/// Throws Error(usage) unless the name ends in .png or .svg: to be called before the work whose result it
/// shows.
void check_drawing_path(const std::string& path);

}  // namespace zeroth::plot
