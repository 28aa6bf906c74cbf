// Antialiasing by coverage: how much of a pixel lies within a shape follows from the distance between its
// centre and the shape's edge.

#include <algorithm>
#include <array>
#include <cmath>

#include "apps/plot/drawing.h"
#include "apps/plot/font.h"

namespace zeroth::plot {

namespace {

/// The pixels that a mark covers, each from 0 to 1: blended into the picture in one go, so that the
/// overlapping pieces of one line are no darker than the rest of it.
class Mask {
 public:
  Mask(int width, int height)
      : width_(width),
        height_(height),
        coverage_(static_cast<std::size_t>(width) * static_cast<std::size_t>(height)) {}

  /// coverage(x, y) at the centres of the pixels of a box, where it is more than what is there.
  template <class Coverage>
  void cover(double left, double top, double right, double bottom, Coverage&& coverage) {
    const int x0 = inside(std::floor(left), width_), x1 = inside(std::ceil(right), width_);
    const int y0 = inside(std::floor(top), height_), y1 = inside(std::ceil(bottom), height_);
    for (int y = y0; y < y1; ++y)
      for (int x = x0; x < x1; ++x) put(x, y, coverage(x + 0.5, y + 0.5));
    left_ = std::min(left_, x0), right_ = std::max(right_, x1);
    top_ = std::min(top_, y0), bottom_ = std::max(bottom_, y1);
  }

  /// Mixes a colour in and forgets what is covered.
  void blend(const Colour& colour, Raster& raster) {
    const std::array<double, 3> channels{static_cast<double>(colour.red), static_cast<double>(colour.green),
                                         static_cast<double>(colour.blue)};
    for (int y = top_; y < bottom_; ++y)
      for (int x = left_; x < right_; ++x) {
        float& covered = coverage_[at(x, y)];
        const double share = colour.alpha * static_cast<double>(covered);
        covered = 0.0f;
        if (share <= 0.0) continue;
        for (std::size_t c = 0; c < 3; ++c) {
          std::uint8_t& value = raster.rgb[3 * at(x, y) + c];
          value = static_cast<std::uint8_t>(std::lround((1.0 - share) * value + share * channels[c]));
        }
      }
    left_ = width_, top_ = height_, right_ = 0, bottom_ = 0;
  }

 private:
  static int inside(double value, int most) {
    return static_cast<int>(std::clamp(value, 0.0, static_cast<double>(most)));
  }
  std::size_t at(int x, int y) const {
    return static_cast<std::size_t>(y) * static_cast<std::size_t>(width_) + static_cast<std::size_t>(x);
  }
  void put(int x, int y, double share) {
    float& covered = coverage_[at(x, y)];
    covered = std::max(covered, static_cast<float>(std::clamp(share, 0.0, 1.0)));
  }

  int width_, height_;
  std::vector<float> coverage_;
  int left_ = width_, top_ = height_, right_ = 0, bottom_ = 0;
};

double distance_to_segment(double x, double y, Point a, Point b) {
  const double dx = b.x - a.x, dy = b.y - a.y, length = dx * dx + dy * dy;
  const double along = length > 0.0 ? std::clamp(((x - a.x) * dx + (y - a.y) * dy) / length, 0.0, 1.0) : 0.0;
  return std::hypot(x - a.x - along * dx, y - a.y - along * dy);
}

/// The strokes of a dashed line.
std::vector<std::vector<Point>> strokes_of(const Polyline& line) {
  if (line.dash <= 0.0) return {line.points};
  std::vector<std::vector<Point>> strokes;
  bool drawing = true;
  double left = line.dash;
  for (std::size_t i = 0; i + 1 < line.points.size(); ++i) {
    Point from = line.points[i];
    const Point to = line.points[i + 1];
    if (drawing && (i == 0 || strokes.empty())) strokes.push_back({from});
    for (double rest = std::hypot(to.x - from.x, to.y - from.y); rest > 0.0;) {
      const double step = std::min(rest, left);
      from = {from.x + (to.x - from.x) * step / rest, from.y + (to.y - from.y) * step / rest};
      rest -= step;
      left -= step;
      if (drawing) strokes.back().push_back(from);
      if (left > 0.0) continue;
      drawing = !drawing;
      left = line.dash;
      if (drawing) strokes.push_back({from});
    }
  }
  return strokes;
}

class Rasteriser {
 public:
  Rasteriser(const Drawing& drawing, double scale)
      : scale_(scale),
        raster_{static_cast<int>(std::lround(drawing.width() * scale)),
                static_cast<int>(std::lround(drawing.height() * scale)),
                {}},
        mask_(raster_.width, raster_.height) {
    raster_.rgb.assign(3 * static_cast<std::size_t>(raster_.width) * static_cast<std::size_t>(raster_.height),
                       255);
    for (const Drawing::Mark& mark : drawing.marks())
      std::visit([&](const auto& shape) { draw(shape); }, mark);
  }
  Raster result() && { return std::move(raster_); }

 private:
  Point scaled(Point point) const { return {point.x * scale_, point.y * scale_}; }

  void draw(const Polyline& line) {
    // A line thinner than a pixel is a paler one of a pixel.
    const double width = std::max(line.width * scale_, 1.0), radius = width / 2.0;
    for (const std::vector<Point>& stroke : strokes_of(line))
      for (std::size_t i = 0; i + 1 < std::max<std::size_t>(stroke.size(), 2) && !stroke.empty(); ++i) {
        const Point a = scaled(stroke[i]), b = scaled(stroke[std::min(i + 1, stroke.size() - 1)]);
        mask_.cover(std::min(a.x, b.x) - radius - 1, std::min(a.y, b.y) - radius - 1,
                    std::max(a.x, b.x) + radius + 1, std::max(a.y, b.y) + radius + 1,
                    [&](double x, double y) { return 0.5 + radius - distance_to_segment(x, y, a, b); });
      }
    Colour colour = line.colour;
    colour.alpha *= std::min(line.width * scale_, 1.0);
    mask_.blend(colour, raster_);
  }
  void draw(const Rectangle& rectangle) {
    const Point from = scaled(rectangle.corner);
    const Point to{from.x + rectangle.width * scale_, from.y + rectangle.height * scale_};
    const auto overlap = [](double centre, double low, double high) {
      return std::min(centre + 0.5, high) - std::max(centre - 0.5, low);
    };
    mask_.cover(from.x, from.y, to.x, to.y, [&](double x, double y) {
      return std::max(overlap(x, from.x, to.x), 0.0) * std::max(overlap(y, from.y, to.y), 0.0);
    });
    mask_.blend(rectangle.fill, raster_);
  }
  void draw(const Disc& disc) {
    const Point centre = scaled(disc.centre);
    const double radius = disc.radius * scale_;
    mask_.cover(centre.x - radius - 1, centre.y - radius - 1, centre.x + radius + 1, centre.y + radius + 1,
                [&](double x, double y) { return 0.5 + radius - std::hypot(x - centre.x, y - centre.y); });
    mask_.blend(disc.fill, raster_);
  }
  void draw(const Polygon& polygon) {
    if (polygon.corners.size() < 3) return;
    std::vector<Point> corners;
    for (const Point& corner : polygon.corners) corners.push_back(scaled(corner));
    double area = 0.0, left = corners[0].x, right = left, top = corners[0].y, bottom = top;
    for (std::size_t i = 0; i < corners.size(); ++i) {
      const Point a = corners[i], b = corners[(i + 1) % corners.size()];
      area += a.x * b.y - a.y * b.x;
      left = std::min(left, a.x), right = std::max(right, a.x);
      top = std::min(top, a.y), bottom = std::max(bottom, a.y);
    }
    const double turn = area < 0.0 ? -1.0 : 1.0;
    mask_.cover(left - 1, top - 1, right + 1, bottom + 1, [&](double x, double y) {
      double inside = 1e30;  // distance to the nearest edge, negative outside
      for (std::size_t i = 0; i < corners.size(); ++i) {
        const Point a = corners[i], b = corners[(i + 1) % corners.size()];
        const double length = std::hypot(b.x - a.x, b.y - a.y);
        if (length > 0.0)
          inside = std::min(inside, turn * ((b.x - a.x) * (y - a.y) - (b.y - a.y) * (x - a.x)) / length);
      }
      return 0.5 + inside;
    });
    mask_.blend(polygon.fill, raster_);
  }
  void draw(const Text& text) {
    const std::vector<int> letters = code_points(text.text);
    const double size = text.size * scale_;
    const std::vector<double> pens = pen_positions(letters, size);
    const double back = text.align == Align::start    ? 0.0
                        : text.align == Align::middle ? pens.back() / 2.0
                                                      : pens.back();
    const Point at = scaled(text.at);
    const double drop = capital_height(size) / 2.0;
    for (std::size_t i = 0; i < letters.size(); ++i) {
      // Along the text and across it: turned by a quarter, these are up and right.
      const double along = (text.upwards ? -at.y : at.x) - back + pens[i],
                   across = (text.upwards ? at.x : at.y) + drop;
      const double pen_x = std::floor(along), pen_y = std::round(across);
      const Glyph glyph = render(letters[i], size, along - pen_x, 0.0);
      const auto left = pen_x + glyph.left, top = pen_y + glyph.top;
      const auto lookup = [&](double x, double y) {
        const auto column = static_cast<int>(std::floor(x - left)),
                   row = static_cast<int>(std::floor(y - top));
        if (column < 0 || row < 0 || column >= glyph.width || row >= glyph.height) return 0.0;
        return glyph.coverage[static_cast<std::size_t>(row * glyph.width + column)] / 255.0;
      };
      if (text.upwards)
        mask_.cover(top, -left - glyph.width, top + glyph.height, -left,
                    [&](double x, double y) { return lookup(-y, x); });
      else
        mask_.cover(left, top, left + glyph.width, top + glyph.height, lookup);
    }
    mask_.blend(text.colour, raster_);
  }

  double scale_;
  Raster raster_;
  Mask mask_;
};

}  // namespace

Raster rasterise(const Drawing& drawing, double scale) {
  return Rasteriser(drawing, scale).result();
}

}  // namespace zeroth::plot
