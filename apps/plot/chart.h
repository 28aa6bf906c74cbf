#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/plot/drawing.h"

namespace zeroth::plot {

/// Okabe and Ito's colours, which people with any kind of colour blindness can tell apart, without the
/// yellow, which is lost on white; they repeat after kColours.
inline constexpr std::size_t kColours = 7;
Colour palette(std::size_t index);

struct Axis {
  std::string title;
  bool logarithmic = false;
  std::optional<double> low = {}, high = {};  ///< else from the data, rounded to ticks
  bool whole = false;                         ///< counts: no ticks between whole numbers
};

enum class Marker : std::uint8_t { none, circle, square, triangle, diamond };
/// Shapes in turn, so that a black and white print can be read, too; with the colours, 28 different pairs.
Marker marker_shape(std::size_t index);
/// Whether a marker is an outline: those of every second round of the colours.
bool marker_hollow(std::size_t index);

/// One entry of the legend: a curve, points, or a curve with points.
struct Series {
  std::string name;  ///< empty: not in the legend
  std::vector<Point> points;
  std::vector<std::string> labels = {};  ///< beside the points; fewer than points, or empty: no label there
  Colour colour = {};
  double line_width = 2.0;  ///< 0: points alone
  double dash = 0.0;
  Marker marker = Marker::none;
  bool hollow = false;
  std::size_t marker_every = 1, marker_first = 0;  ///< which points have a marker
};

/// Series over two axes. A point that is not finite, or not above 0 on a logarithmic axis, breaks its curve.
/// What lies outside of an axis that was given is cut off.
struct Chart {
  std::string title, subtitle;
  Axis x, y;
  std::vector<Series> series;
};

/// Gives a series the looks of the `index`th of `count` that share a chart: colour and marker. Where there
/// are more series than colours, every curve shows its marker, a long one here and there.
void set_look(Series& series, std::size_t index, std::size_t count, bool every_point);

Drawing draw(const Chart& chart, double width = 960.0, double height = 600.0);

/// Horizontal bars, one below the other.
struct Bars {
  struct Bar {
    std::string name;
    double value = 0.0;
    std::string note;  ///< behind the bar
    Colour colour = {};
  };
  std::string title, subtitle;
  Axis axis;  ///< linear, from 0
  std::vector<Bar> bars;
  std::vector<std::pair<std::string, Colour>> legend = {};
};

Drawing draw(const Bars& bars, double width = 960.0);

}  // namespace zeroth::plot
