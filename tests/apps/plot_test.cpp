#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <set>
#include <tuple>

#include "apps/plot/chart.h"
#include "apps/plot/font.h"
#include "apps/plot/ticks.h"
#include "kernels/core/error.h"
#include "tests/catch.h"
#include "tests/data/scratch.h"

using namespace zeroth;
using namespace zeroth::plot;

namespace {

bool near(double a, double b, double margin) {
  if (std::fabs(a - b) <= margin) return true;
  UNSCOPED_INFO(a << " is not within " << margin << " of " << b);
  return false;
}

/// Red of a pixel, which for grey is its brightness.
int red(const Raster& raster, int x, int y) {
  return raster.rgb[3 * static_cast<std::size_t>(y * raster.width + x)];
}

/// How much ink, 1 for a black pixel, lies in a box.
double ink(const Raster& raster, int left, int top, int right, int bottom) {
  double sum = 0.0;
  for (int y = top; y < bottom; ++y)
    for (int x = left; x < right; ++x) sum += 1.0 - red(raster, x, y) / 255.0;
  return sum;
}

std::vector<std::string> labels(const std::vector<Tick>& ticks) {
  std::vector<std::string> result;
  for (const Tick& tick : ticks)
    if (!tick.label.empty()) result.push_back(tick.label);
  return result;
}

using Words = std::vector<std::string>;

/// The texts of a drawing.
Words words(const Drawing& drawing) {
  Words result;
  for (const Drawing::Mark& mark : drawing.marks())
    if (const auto* text = std::get_if<Text>(&mark)) result.push_back(text->text);
  return result;
}

bool has(const Words& all, const std::string& word) {
  return std::find(all.begin(), all.end(), word) != all.end();
}

}  // namespace

TEST_CASE("a line lies where it was drawn, as wide as it was asked for", "[plot]") {
  Drawing drawing(40, 20);
  drawing.add(Polyline{{{10, 10}, {30, 10}}, 4.0});
  const Raster raster = rasterise(drawing, 1.0);
  CHECK(raster.width == 40);
  CHECK(raster.height == 20);
  CHECK(red(raster, 20, 9) == 0);
  CHECK(red(raster, 20, 5) == 255);
  CHECK(red(raster, 20, 14) == 255);
  CHECK(red(raster, 3, 10) == 255);
  CHECK(near(ink(raster, 20, 0, 21, 20), 4.0, 0.02));
  // Twenty long and round at both ends.
  CHECK(near(ink(raster, 0, 0, 40, 20), 80.0 + 3.14159 * 4.0, 1.0));
}

TEST_CASE("a thin line is pale and not ragged", "[plot]") {
  Drawing drawing(20, 20);
  drawing.add(Polyline{{{0, 10.5}, {20, 10.5}}, 0.5});
  CHECK(near(ink(rasterise(drawing, 1.0), 10, 0, 11, 20), 0.5, 0.02));
}

TEST_CASE("a translucent line that turns back is no darker there", "[plot]") {
  Drawing drawing(40, 20);
  drawing.add(Polyline{{{5, 10}, {35, 10}, {15, 10}}, 4.0, {0, 0, 0, 0.5}});
  const Raster raster = rasterise(drawing, 1.0);
  CHECK(red(raster, 10, 10) == red(raster, 25, 10));
  CHECK(near(red(raster, 25, 10), 128, 1));
}

TEST_CASE("dashes leave gaps", "[plot]") {
  Drawing drawing(100, 10);
  drawing.add(Polyline{{{0, 5}, {55, 5}, {100, 5}}, 2.0, {}, 10.0});
  const Raster raster = rasterise(drawing, 1.0);
  for (const int middle : {5, 25, 45, 65, 85}) CHECK(red(raster, middle, 5) == 0);
  for (const int gap : {15, 35, 55, 75, 95}) CHECK(red(raster, gap, 5) == 255);
}

TEST_CASE("areas have their size, whichever way their corners turn", "[plot]") {
  Drawing drawing(100, 40);
  drawing.add(Rectangle{{5.25, 5.0}, 10.5, 10.0, {}});
  drawing.add(Disc{{35, 20}, 8.0, {}});
  drawing.add(Polygon{{{50, 5}, {70, 5}, {70, 25}}, {}});
  drawing.add(Polygon{{{75, 5}, {95, 25}, {95, 5}}, {}});
  const Raster raster = rasterise(drawing, 1.0);
  CHECK(near(ink(raster, 0, 0, 22, 40), 105.0, 0.5));
  CHECK(near(ink(raster, 22, 0, 48, 40), 3.14159 * 64.0, 1.5));
  CHECK(near(ink(raster, 48, 0, 72, 40), 200.0, 3.0));
  CHECK(near(ink(raster, 73, 0, 100, 40), 200.0, 3.0));
}

TEST_CASE("text is where it belongs, lying and standing", "[plot]") {
  for (const Align align : {Align::start, Align::middle, Align::end}) {
    const double width = text_width("error", 20.0), before = width * static_cast<int>(align) / 2.0;
    CHECK(width > 40.0);
    CHECK(width < 60.0);
    Drawing lying(200, 200), standing(200, 200);
    lying.add(Text{{100, 100}, "error", 20.0, align});
    standing.add(Text{{100, 100}, "error", 20.0, align, {}, true});
    const Raster flat = rasterise(lying, 1.0), turned = rasterise(standing, 1.0);
    const int left = static_cast<int>(100 - before), right = static_cast<int>(100 - before + width);
    const double all = ink(flat, 0, 0, 200, 200);
    CHECK(all > 50.0);
    CHECK(near(ink(flat, left - 1, 90, right + 1, 110), all, 1e-6));
    CHECK(near(ink(turned, 0, 0, 200, 200), all, 0.1 * all));
    // Read from below: what lay to the right lies above.
    CHECK(near(ink(turned, 90, 200 - right - 1, 110, 200 - left + 1), ink(turned, 0, 0, 200, 200), 1e-6));
  }
}

TEST_CASE("every letter of every size is in the built-in font", "[plot]") {
  for (const double size : {8.0, 13.0, 40.0})
    for (const int letter : code_points("AZaz09%/×⁻¹²µé–")) {
      const Glyph glyph = render(letter, size, 0.0, 0.0), missing = render(0xFFFF, size, 0.0, 0.0);
      CHECK(glyph.width > 0);
      CHECK(glyph.coverage != missing.coverage);
    }
  CHECK(code_points("a×\xFF\xE2\x82") == std::vector<int>{'a', 0xD7, 0xFFFD, 0xFFFD, 0xFFFD});
}

TEST_CASE("ticks are round numbers within the axis", "[plot]") {
  CHECK(labels(linear_ticks(0.0, 1.0, 5)) == Words{"0.0", "0.2", "0.4", "0.6", "0.8", "1.0"});
  CHECK(labels(linear_ticks(-3.0, 7.0, 4)) == Words{"0", "5"});
  CHECK(labels(linear_ticks(0.0, 64000.0, 4)) == Words{"0", "20k", "40k", "60k"});
  CHECK(labels(linear_ticks(0.012, 0.0145, 3)) == Words{"0.012", "0.013", "0.014"});
  CHECK(labels(logarithmic_ticks(0.02, 300.0, 6)) == Words{"0.1", "1", "10", "100"});
  CHECK(labels(logarithmic_ticks(1e-6, 1e6, 4)) == Words{"10⁻⁶", "0.001", "1", "1000", "10⁶"});
  CHECK(labels(logarithmic_ticks(0.8, 6.0, 6)) == Words{"1", "2", "5"});
  const Interval interval = nice_interval(0.3, 9.7, 5);
  CHECK(interval.low == 0.0);
  CHECK(near(interval.high, 10.0, 1e-6));
  CHECK(nice_interval(4.0, 4.0, 5).high > nice_interval(4.0, 4.0, 5).low);
}

TEST_CASE("a chart shows what it was given, and survives what it cannot show", "[plot]") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  Chart chart{"Loss & error", "two <seeds>", {"epoch", false, {}, {}, true}, {"loss", true}, {}};
  chart.series.push_back(
      {"first", {{1, 2.0}, {2, nan}, {3, 0.5}, {4, -1.0}, {5, 0.25}}, {"start"}, palette(0)});
  chart.series.back().marker = Marker::circle;
  chart.series.push_back({"empty", {}});
  const Words seen = words(draw(chart));
  for (const char* word :
       {"Loss & error", "two <seeds>", "epoch", "loss", "first", "empty", "start", "1", "5"}) {
    INFO(word);
    CHECK(has(seen, word));
  }
  CHECK(!has(seen, "-1"));
  CHECK(!words(draw(Chart{})).empty());  // ticks of axes without data
  const std::string svg = to_svg(draw(chart));
  CHECK(svg.find("Loss &#38; error") != std::string::npos);
  CHECK(svg.find("two &#60;seeds&#62;") != std::string::npos);
}

TEST_CASE("a curve stays within axes that were given", "[plot]") {
  Chart chart{"", "", {"", false, 0.0, 10.0}, {"", false, 0.0, 1.0}, {}};
  chart.series.push_back({"", {{-5, 0.5}, {5, 0.5}, {6, 40.0}, {7, 0.5}, {20, 0.5}}, {}, {200, 0, 0}});
  const Drawing drawing = draw(chart, 400, 300);
  int pieces = 0;
  for (const Drawing::Mark& mark : drawing.marks())
    if (const auto* line = std::get_if<Polyline>(&mark); line != nullptr && line->colour.red == 200) {
      ++pieces;
      for (const Point& point : line->points) {
        CHECK(point.x >= 18.0);
        CHECK(point.x <= 382.0);
        CHECK(point.y >= 0.0);
        CHECK(point.y <= 260.0);
      }
    }
  CHECK(pieces == 2);
}

TEST_CASE("28 series that share a chart look different", "[plot]") {
  using Look = std::tuple<int, int, int, int, bool>;
  std::set<Look> looks;
  std::set<std::size_t> first_marks;
  for (std::size_t i = 0; i < 28; ++i) {
    Series series;
    series.points.resize(400);
    set_look(series, i, 28, false);
    looks.insert({series.colour.red, series.colour.green, series.colour.blue, static_cast<int>(series.marker),
                  series.hollow});
    CHECK(series.marker != Marker::none);
    CHECK(series.marker_every == 50);
    first_marks.insert(series.marker_first);
  }
  CHECK(looks.size() == 28);
  CHECK(first_marks.size() == 28);  // no two above each other
  // As many as there are colours need no markers on long curves.
  Series few;
  few.points.resize(400);
  set_look(few, 6, 7, false);
  CHECK(few.marker == Marker::none);
  set_look(few, 6, 7, true);
  CHECK(few.marker != Marker::none);
  CHECK(few.marker_every == 1);
}

TEST_CASE("a curve shows its markers at the points that it names", "[plot]") {
  Chart chart{"", "", {"x"}, {"y"}, {}};
  Series series{"", {}, {}, {200, 0, 0}, 2.0, 0.0, Marker::circle};
  for (int i = 0; i < 20; ++i) series.points.push_back({1.0 * i, 1.0});
  series.marker_every = 6;
  series.marker_first = 2;
  series.hollow = true;
  chart.series.push_back(series);
  int coloured = 0, white = 0;
  const Drawing drawing = draw(chart);
  for (const Drawing::Mark& mark : drawing.marks())
    if (const auto* disc = std::get_if<Disc>(&mark)) (disc->fill.red == 200 ? coloured : white) += 1;
  CHECK(coloured == 3);  // at 2, 8 and 14
  CHECK(white == 6);     // the rim and the hollow of each
}

TEST_CASE("labels of points do not lie on each other", "[plot]") {
  Chart chart{"", "", {"x"}, {"y"}, {}};
  Series crowd{"", {}, {}, palette(0), 0.0, 0.0, Marker::square};
  for (int i = 0; i < 12; ++i) {
    crowd.points.push_back({5.0 + 0.1 * i, 5.0 + 0.1 * (i % 3)});
    crowd.labels.push_back("label " + std::to_string(i));
  }
  crowd.points.insert(crowd.points.end(), {{0, 0}, {10, 10}});
  chart.series.push_back(crowd);
  std::vector<const Text*> shown;
  const Drawing drawing = draw(chart);
  for (const Drawing::Mark& mark : drawing.marks())
    if (const auto* text = std::get_if<Text>(&mark); text != nullptr && text->text.starts_with("label"))
      shown.push_back(text);
  CHECK(shown.size() >= 8);
  for (const Text* a : shown)
    for (const Text* b : shown) {
      if (a == b) continue;
      const bool apart = std::fabs(a->at.y - b->at.y) > capital_height(a->size) ||
                         a->at.x + text_width(a->text, a->size) < b->at.x ||
                         b->at.x + text_width(b->text, b->size) < a->at.x;
      CHECK(apart);
    }
}

TEST_CASE("bars are as long as their values", "[plot]") {
  Bars bars;
  bars.bars.push_back({"conv2d", 40.0, "40 ms", palette(0)});
  bars.bars.push_back({"relu", 10.0, "10 ms", palette(1)});
  std::vector<double> widths;
  const Drawing drawing = draw(bars);
  for (const Drawing::Mark& mark : drawing.marks())
    if (const auto* bar = std::get_if<Rectangle>(&mark)) widths.push_back(bar->width);
  REQUIRE(widths.size() == 2);
  CHECK(near(widths[0], 4.0 * widths[1], 1e-6));
  CHECK(has(words(drawing), "relu"));
}

TEST_CASE("drawings become files by their ending", "[plot]") {
  const test::ScratchFolder scratch;
  Drawing drawing(30, 20);
  drawing.add(Text{{5, 10}, "x", 12.0});
  const std::string path = (scratch.path() / "a.png").string();
  write_drawing(drawing, path);
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  CHECK(bytes.substr(0, 8) == "\x89PNG\r\n\x1a\n");
  CHECK(bytes.substr(16, 8) == std::string("\0\0\0\x3c\0\0\0\x28", 8));  // 60 x 40
  CHECK(bytes == to_png(drawing));
  write_drawing(drawing, (scratch.path() / "a.svg").string());
  CHECK(std::filesystem::file_size(scratch.path() / "a.svg") == to_svg(drawing).size());
  CHECK_THROWS_AS(check_drawing_path("a.jpg"), Error);
  CHECK_THROWS_AS(write_drawing(drawing, (scratch.path() / "none" / "a.png").string()), Error);
}
