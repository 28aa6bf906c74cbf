#include <fmt/format.h>

#include "apps/plot/drawing.h"
#include "apps/plot/font.h"

namespace zeroth::plot {

namespace {

/// Attributes of a colour: fill="#0072b2" fill-opacity="0.5"
std::string paint(const char* what, const Colour& colour) {
  std::string text = fmt::format("{}=\"#{:02x}{:02x}{:02x}\"", what, colour.red, colour.green, colour.blue);
  if (colour.alpha < 1.0) text += fmt::format(" {}-opacity=\"{:.3g}\"", what, colour.alpha);
  return text;
}

std::string points_text(const std::vector<Point>& points) {
  std::string text;
  for (const Point& point : points)
    text += fmt::format("{}{:.2f},{:.2f}", text.empty() ? "" : " ", point.x, point.y);
  return text;
}

/// What XML can hold: control characters become U+FFFD, as bytes that are no UTF-8 do.
std::string escaped(const std::string& text) {
  std::string result;
  for (const int point : code_points(text)) {
    if (point == '<' || point == '>' || point == '&' || point == '"' || point > 0x7E)
      result += fmt::format("&#{};", point);
    else
      result += point < 0x20 ? std::string("&#65533;") : std::string(1, static_cast<char>(point));
  }
  return result;
}

struct Writer {
  std::string text;

  void operator()(const Polyline& line) {
    if (line.points.empty()) return;
    const std::string dash = line.dash > 0.0 ? fmt::format(" stroke-dasharray=\"{:.4g}\"", line.dash) : "";
    text += fmt::format(
        "<polyline points=\"{}\" fill=\"none\" {} stroke-width=\"{:.4g}\" stroke-linejoin=\"round\" "
        "stroke-linecap=\"round\"{}/>\n",
        points_text(line.points), paint("stroke", line.colour), line.width, dash);
  }
  void operator()(const Rectangle& r) {
    text += fmt::format("<rect x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\" {}/>\n",
                        r.corner.x, r.corner.y, r.width, r.height, paint("fill", r.fill));
  }
  void operator()(const Disc& disc) {
    text += fmt::format("<circle cx=\"{:.2f}\" cy=\"{:.2f}\" r=\"{:.2f}\" {}/>\n", disc.centre.x,
                        disc.centre.y, disc.radius, paint("fill", disc.fill));
  }
  void operator()(const Polygon& polygon) {
    text += fmt::format("<polygon points=\"{}\" {}/>\n", points_text(polygon.corners),
                        paint("fill", polygon.fill));
  }
  void operator()(const Text& t) {
    static constexpr const char* anchors[] = {"start", "middle", "end"};
    const double drop = capital_height(t.size) / 2.0;
    const std::string place =
        t.upwards ? fmt::format("transform=\"translate({:.2f} {:.2f}) rotate(-90)\"", t.at.x + drop, t.at.y)
                  : fmt::format("x=\"{:.2f}\" y=\"{:.2f}\"", t.at.x, t.at.y + drop);
    text += fmt::format("<text {} font-size=\"{:.4g}\" text-anchor=\"{}\" {}>{}</text>\n", place, t.size,
                        anchors[static_cast<int>(t.align)], paint("fill", t.colour), escaped(t.text));
  }
};

}  // namespace

std::string to_svg(const Drawing& drawing) {
  Writer writer;
  for (const Drawing::Mark& mark : drawing.marks()) std::visit(writer, mark);
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" viewBox=\"0 0 {0:.0f} "
      "{1:.0f}\" "
      "font-family=\"DejaVu Sans, Verdana, sans-serif\">\n<rect width=\"100%\" height=\"100%\" "
      "fill=\"#ffffff\"/>\n{2}</svg>\n",
      drawing.width(), drawing.height(), writer.text);
}

}  // namespace zeroth::plot
