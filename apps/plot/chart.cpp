#include "apps/plot/chart.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "apps/plot/ticks.h"

namespace zeroth::plot {

namespace {

constexpr double kTitleSize = 18.0, kTextSize = 13.0, kMargin = 18.0, kMarkerRadius = 4.5;
constexpr Colour kInk{34, 34, 34}, kGrid{0, 0, 0, 0.10}, kFaintGrid{0, 0, 0, 0.05}, kFrame{120, 120, 120};

struct Box {
  double left = 0.0, top = 0.0, right = 0.0, bottom = 0.0;

  bool overlaps(const Box& other) const {
    return left < other.right && other.left < right && top < other.bottom && other.top < bottom;
  }
  bool holds(const Box& other) const {
    return left <= other.left && top <= other.top && right >= other.right && bottom >= other.bottom;
  }
};

/// From numbers to places along one axis.
class Scale {
 public:
  Scale(const Axis& axis, const std::vector<Series>& series, double Point::*coordinate, double from,
        double to)
      : logarithmic_(axis.logarithmic), whole_(axis.whole), from_(from), to_(to) {
    double low = 1e300, high = -1e300;
    for (const Series& one : series)
      for (const Point& point : one.points)
        if (const double value = point.*coordinate; usable(value))
          low = std::min(low, value), high = std::max(high, value);
    if (low > high) low = logarithmic_ ? 0.1 : 0.0, high = 1.0;
    if (axis.low) low = *axis.low;
    if (axis.high) high = *axis.high;
    if (logarithmic_) {
      if (!(high > low)) low /= 2.0, high *= 2.0;
      low_ = axis.low ? low : low / 1.15;
      high_ = axis.high ? high : high * 1.15;
    } else {
      const Interval nice = nice_interval(low, high, wanted(high - low));
      low_ = axis.low ? low : nice.low;
      high_ = axis.high ? high : nice.high;
      if (!(high_ > low_)) high_ = low_ + 1.0;
    }
  }

  bool usable(double value) const { return std::isfinite(value) && (!logarithmic_ || value > 0.0); }
  double place(double value) const {
    const double share =
        logarithmic_ ? std::log(value / low_) / std::log(high_ / low_) : (value - low_) / (high_ - low_);
    return from_ + share * (to_ - from_);
  }
  std::vector<Tick> ticks() const {
    return logarithmic_ ? logarithmic_ticks(low_, high_, wanted())
                        : linear_ticks(low_, high_, wanted(high_ - low_));
  }

 private:
  int wanted() const { return std::max(2, static_cast<int>(std::fabs(to_ - from_) / 80.0)); }
  int wanted(double range) const {
    return whole_ ? std::clamp(static_cast<int>(std::min(range, 1e6)), 1, wanted()) : wanted();
  }

  bool logarithmic_, whole_;
  double from_, to_, low_ = 0.0, high_ = 1.0;
};

/// The part of a segment within a box; nothing where none is (Liang and Barsky, 1984).
std::optional<std::array<Point, 2>> clipped(Point a, Point b, const Box& box) {
  double first = 0.0, last = 1.0;
  const double dx = b.x - a.x, dy = b.y - a.y;
  const std::array<std::array<double, 2>, 4> edges{
      {{-dx, a.x - box.left}, {dx, box.right - a.x}, {-dy, a.y - box.top}, {dy, box.bottom - a.y}}};
  for (const auto& [towards, distance] : edges) {
    if (towards == 0.0 && distance < 0.0) return std::nullopt;
    if (towards < 0.0) first = std::max(first, distance / towards);
    if (towards > 0.0) last = std::min(last, distance / towards);
  }
  if (first > last) return std::nullopt;
  return std::array<Point, 2>{Point{a.x + first * dx, a.y + first * dy},
                              Point{a.x + last * dx, a.y + last * dy}};
}

void draw_marker(Drawing& drawing, const Series& series, Point at) {
  const double r = kMarkerRadius;
  const auto polygon = [&](std::vector<Point> corners, Colour fill) {
    for (Point& corner : corners) corner = {at.x + corner.x, at.y + corner.y};
    drawing.add(Polygon{std::move(corners), fill});
  };
  // A white rim keeps neighbours apart.
  const auto shape = [&](double grow, Colour fill) {
    const double s = r + grow;
    switch (series.marker) {
      case Marker::none:
        break;
      case Marker::circle:
        drawing.add(Disc{at, s, fill});
        break;
      case Marker::square:
        polygon({{-0.9 * s, -0.9 * s}, {0.9 * s, -0.9 * s}, {0.9 * s, 0.9 * s}, {-0.9 * s, 0.9 * s}}, fill);
        break;
      case Marker::triangle:
        polygon({{0, -1.2 * s}, {1.1 * s, 0.8 * s}, {-1.1 * s, 0.8 * s}}, fill);
        break;
      case Marker::diamond:
        polygon({{0, -1.25 * s}, {1.25 * s, 0}, {0, 1.25 * s}, {-1.25 * s, 0}}, fill);
        break;
    }
  };
  constexpr Colour kWhite{255, 255, 255};
  shape(1.0, kWhite);
  shape(0.0, series.colour);
  if (series.hollow) shape(-1.8, kWhite);
}

void draw_heading(Drawing& drawing, const std::string& title, const std::string& subtitle) {
  drawing.add(Text{{kMargin, kMargin + 8.0}, title, kTitleSize, Align::start, kInk});
  drawing.add(Text{{kMargin, kMargin + 31.0}, subtitle, kTextSize, Align::start, {90, 90, 90}});
}

double heading_height(const std::string& title, const std::string& subtitle) {
  return kMargin + (title.empty() ? 0.0 : 22.0) + (subtitle.empty() ? 0.0 : 22.0) + 12.0;
}

double widest(const std::vector<Tick>& ticks) {
  double width = 0.0;
  for (const Tick& tick : ticks) width = std::max(width, text_width(tick.label, kTextSize));
  return width;
}

/// Grid, frame, ticks and titles.
void draw_axes(Drawing& drawing, const Box& plot, const Scale& x, const Scale& y, const Chart& chart) {
  for (const Tick& tick : x.ticks()) {
    const double at = x.place(tick.value);
    drawing.add(Polyline{{{at, plot.top}, {at, plot.bottom}}, 1.0, tick.label.empty() ? kFaintGrid : kGrid});
    if (!tick.label.empty())
      drawing.add(Text{{at, plot.bottom + 14.0}, tick.label, kTextSize, Align::middle, kInk});
  }
  double labels = 0.0;
  for (const Tick& tick : y.ticks()) {
    const double at = y.place(tick.value);
    drawing.add(Polyline{{{plot.left, at}, {plot.right, at}}, 1.0, tick.label.empty() ? kFaintGrid : kGrid});
    if (!tick.label.empty())
      drawing.add(Text{{plot.left - 8.0, at}, tick.label, kTextSize, Align::end, kInk});
    labels = std::max(labels, text_width(tick.label, kTextSize));
  }
  drawing.add(
      Polyline{{{plot.left, plot.top}, {plot.left, plot.bottom}, {plot.right, plot.bottom}}, 1.2, kFrame});
  drawing.add(Text{
      {(plot.left + plot.right) / 2.0, plot.bottom + 38.0}, chart.x.title, kTextSize, Align::middle, kInk});
  drawing.add(Text{{plot.left - labels - 24.0, (plot.top + plot.bottom) / 2.0},
                   chart.y.title,
                   kTextSize,
                   Align::middle,
                   kInk,
                   true});
}

/// Puts labels beside their points, away from markers, curves and each other; one without a place is left
/// out.
class Labels {
 public:
  Labels(Drawing& drawing, const Box& plot) : drawing_(drawing), plot_(plot) {}

  void keep_off_marker(Point at) { marks_.push_back({at.x - 6.0, at.y - 6.0, at.x + 6.0, at.y + 6.0}); }
  void keep_off_curve(Point a, Point b) {
    const int pieces = 1 + static_cast<int>(std::hypot(b.x - a.x, b.y - a.y) / 6.0);
    for (int i = 0; i <= pieces; ++i) {
      const double share = static_cast<double>(i) / pieces;
      const Point at{a.x + share * (b.x - a.x), a.y + share * (b.y - a.y)};
      curves_.push_back({at.x - 2.0, at.y - 2.0, at.x + 2.0, at.y + 2.0});
    }
  }
  void put(Point at, const std::string& text) {
    constexpr double kSize = 11.0, kNear = 9.0;
    const double width = text_width(text, kSize), height = capital_height(kSize) + 5.0;
    for (const double far : {kNear, 20.0, 34.0, 50.0, 70.0, 95.0, 125.0, 160.0})
      for (const auto& [dx, dy] : std::initializer_list<std::array<double, 2>>{
               {1, 0}, {0.8, -0.8}, {0.8, 0.8}, {-1, 0}, {-0.8, -0.8}, {-0.8, 0.8}, {0, -1}, {0, 1}}) {
        const Point foot{at.x + dx * far, at.y + dy * far};
        const double left = foot.x - (dx > 0 ? 0.0 : dx < 0 ? width : width / 2.0);
        const Box box{left - 2.0, foot.y - height / 2.0, left + width + 2.0, foot.y + height / 2.0};
        const Point from{at.x + dx * 7.0, at.y + dy * 7.0}, to{foot.x - dx * 2.0, foot.y - dy * 2.0};
        const bool leader = far > kNear;
        if (!plot_.holds(box) || !is_free(box) || (leader && !is_free_between(from, to))) continue;
        if (leader) drawing_.add(Polyline{{from, to}, 0.8, {0, 0, 0, 0.4}});
        drawing_.add(Text{{left, foot.y}, text, kSize, Align::start, kInk});
        words_.push_back(box);
        return;
      }
  }

 private:
  static bool meets(const std::vector<Box>& boxes, const Box& box) {
    return std::any_of(boxes.begin(), boxes.end(), [&](const Box& other) { return box.overlaps(other); });
  }
  bool is_free(const Box& box) const {
    return !meets(curves_, box) && !meets(marks_, box) && !meets(words_, box);
  }
  /// A leader may cross a curve.
  bool is_free_between(Point a, Point b) const {
    for (double share = 0.0; share <= 1.0; share += 0.1) {
      const Point at{a.x + share * (b.x - a.x), a.y + share * (b.y - a.y)};
      const Box dot{at.x - 0.5, at.y - 0.5, at.x + 0.5, at.y + 0.5};
      if (meets(marks_, dot) || meets(words_, dot)) return false;
    }
    return true;
  }

  Drawing& drawing_;
  Box plot_;
  std::vector<Box> curves_, marks_, words_;
};

void draw_series(Drawing& drawing, const Box& plot, const Scale& x, const Scale& y, const Chart& chart) {
  Labels labels(drawing, plot);
  const auto place = [&](const Point& point) -> std::optional<Point> {
    if (!x.usable(point.x) || !y.usable(point.y)) return std::nullopt;
    return Point{x.place(point.x), y.place(point.y)};
  };
  for (const Series& series : chart.series) {
    if (series.line_width <= 0.0) continue;
    Polyline line{{}, series.line_width, series.colour, series.dash};
    const auto finish = [&] {
      if (!line.points.empty()) drawing.add(line);
      line.points.clear();
    };
    std::optional<Point> before;
    for (const Point& point : series.points) {
      const std::optional<Point> at = place(point);
      const auto piece = before && at ? clipped(*before, *at, plot) : std::nullopt;
      before = at;
      if (!piece) {
        finish();
        continue;
      }
      const auto& [from, to] = *piece;
      if (line.points.empty() ||
          std::hypot(line.points.back().x - from.x, line.points.back().y - from.y) > 0.01) {
        finish();
        line.points.push_back(from);
      }
      line.points.push_back(to);
      labels.keep_off_curve(from, to);
    }
    finish();
  }
  const auto visible = [&](const std::optional<Point>& at) {
    return at && plot.holds({at->x, at->y, at->x, at->y});
  };
  for (const Series& series : chart.series)
    for (std::size_t i = series.marker_first; i < series.points.size(); i += series.marker_every)
      if (const std::optional<Point> at = place(series.points[i]);
          series.marker != Marker::none && visible(at)) {
        draw_marker(drawing, series, *at);
        labels.keep_off_marker(*at);
      }
  for (const Series& series : chart.series)
    for (std::size_t i = 0; i < std::min(series.labels.size(), series.points.size()); ++i)
      if (const std::optional<Point> at = place(series.points[i]); visible(at) && !series.labels[i].empty())
        labels.put(*at, series.labels[i]);
}

void draw_legend(Drawing& drawing, double left, double top, const std::vector<Series>& series) {
  for (const Series& one : series) {
    if (one.name.empty()) continue;
    const Point middle{left + 14.0, top};
    if (one.line_width > 0.0)
      drawing.add(Polyline{{{left, top}, {left + 28.0, top}}, one.line_width, one.colour, one.dash});
    if (one.marker != Marker::none) draw_marker(drawing, one, middle);
    drawing.add(Text{{left + 36.0, top}, one.name, kTextSize, Align::start, kInk});
    top += 22.0;
  }
}

}  // namespace

Colour palette(std::size_t index) {
  static constexpr Colour colours[] = {{0, 114, 178}, {213, 94, 0},   {0, 158, 115}, {204, 121, 167},
                                       {230, 159, 0}, {86, 180, 233}, {0, 0, 0}};
  static_assert(std::size(colours) == kColours);
  return colours[index % kColours];
}

Marker marker_shape(std::size_t index) {
  return static_cast<Marker>(1 + index % 4);
}

bool marker_hollow(std::size_t index) {
  return index / kColours % 2 == 1;
}

void set_look(Series& series, std::size_t index, std::size_t count, bool every_point) {
  constexpr std::size_t kMarkersOfCurve = 8;
  series.colour = palette(index);
  series.hollow = marker_hollow(index);
  if (!every_point && count <= kColours) return;
  series.marker = marker_shape(index);
  if (every_point) return;
  series.marker_every = std::max<std::size_t>(1, series.points.size() / kMarkersOfCurve);
  series.marker_first = index * series.marker_every / count;  // not all above each other
}

Drawing draw(const Chart& chart, double width, double height) {
  Drawing drawing(width, height);
  draw_heading(drawing, chart.title, chart.subtitle);
  double legend = 0.0;
  for (const Series& series : chart.series)
    if (!series.name.empty()) legend = std::max(legend, text_width(series.name, kTextSize) + 36.0 + 16.0);
  Box plot{0.0, heading_height(chart.title, chart.subtitle), width - kMargin - std::max(legend, 12.0),
           height - kMargin - 40.0};
  // How wide the labels on the left are follows from the ticks, which do not depend on where the plot begins.
  const Scale y(chart.y, chart.series, &Point::y, plot.bottom, plot.top);
  plot.left = kMargin + 26.0 + widest(y.ticks());
  const Scale x(chart.x, chart.series, &Point::x, plot.left, plot.right);
  draw_axes(drawing, plot, x, y, chart);
  draw_series(drawing, plot, x, y, chart);
  draw_legend(drawing, plot.right + 16.0, plot.top + 10.0, chart.series);
  return drawing;
}

Drawing draw(const Bars& bars, double width) {
  constexpr double kPitch = 26.0;
  const double top = heading_height(bars.title, bars.subtitle) + (bars.legend.empty() ? 0.0 : 24.0);
  Drawing drawing(width, top + kPitch * static_cast<double>(bars.bars.size()) + 60.0);
  draw_heading(drawing, bars.title, bars.subtitle);
  double names = 0.0, notes = 0.0, key = kMargin;
  for (const auto& [name, colour] : bars.legend) {
    drawing.add(Rectangle{{key, top - 30.0}, 12.0, 12.0, colour});
    drawing.add(Text{{key + 18.0, top - 24.0}, name, kTextSize, Align::start, kInk});
    key += 42.0 + text_width(name, kTextSize);
  }
  Series values{"", {{0.0, 0.0}}};
  for (const Bars::Bar& bar : bars.bars) {
    names = std::max(names, text_width(bar.name, kTextSize));
    notes = std::max(notes, text_width(bar.note, kTextSize));
    values.points.push_back({bar.value, 0.0});
  }
  const Box plot{kMargin + names + 10.0, top, width - kMargin - notes - 10.0, drawing.height() - 58.0};
  const Scale x(bars.axis, {values}, &Point::x, plot.left, plot.right);
  for (const Tick& tick : x.ticks()) {
    const double at = x.place(tick.value);
    drawing.add(Polyline{{{at, plot.top}, {at, plot.bottom}}, 1.0, kGrid});
    drawing.add(Text{{at, plot.bottom + 14.0}, tick.label, kTextSize, Align::middle, kInk});
  }
  drawing.add(Text{
      {(plot.left + plot.right) / 2.0, plot.bottom + 38.0}, bars.axis.title, kTextSize, Align::middle, kInk});
  double y = plot.top + kPitch / 2.0;
  for (const Bars::Bar& bar : bars.bars) {
    const double end = x.place(bar.value);
    drawing.add(Rectangle{{plot.left, y - 8.0}, end - plot.left, 16.0, bar.colour});
    drawing.add(Text{{plot.left - 8.0, y}, bar.name, kTextSize, Align::end, kInk});
    drawing.add(Text{{end + 6.0, y}, bar.note, kTextSize, Align::start, {90, 90, 90}});
    y += kPitch;
  }
  drawing.add(Polyline{{{plot.left, plot.top}, {plot.left, plot.bottom}}, 1.2, kFrame});
  return drawing;
}

}  // namespace zeroth::plot
