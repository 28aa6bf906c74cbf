// The generated set. Every class is unchanged by a mirror and by small shifts, because training augments with
// both, and says nothing through single pixels: either colour may be the brighter one and the pattern lies
// anywhere, so each class has nearly the same mean picture and a linear classifier finds little to hold on
// to.
//
// Lengths are in sixteenths of a pixel. A pixel is the mean of 2 x 2 samples, each inside the pattern or not.

#include "data/generated.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "kernels/core/error.h"
#include "kernels/core/philox.h"

namespace zeroth {
namespace {

constexpr int kSide = 32;
constexpr int kChannels = 3;
constexpr int kUnit = 16;  // one pixel
constexpr int kSamples = 4;

enum Pattern {
  kHorizontalStripes,
  kVerticalStripes,
  kDiagonalStripes,
  kCheckerboard,
  kDots,
  kDisc,
  kRing,
  kSquare,
  kCross,
  kTriangle,
  kPatternCount
};

/// The draws of one picture, in order: counter (picture, block, half of the set, use).
class PictureDraws {
 public:
  PictureDraws(std::uint64_t seed, std::uint32_t picture, std::uint32_t half)
      : seed_(seed), picture_(picture), half_(half) {}

  PhiloxWords block() {
    return philox(seed_, picture_, block_++, half_, static_cast<std::uint32_t>(RandomUse::generate));
  }

  /// A whole number in [low, high].
  int between(int low, int high) {
    if (next_ == 4) {
      words_ = block();
      next_ = 0;
    }
    return low +
           static_cast<int>(uniform_below(words_.word[next_++], static_cast<std::uint32_t>(high - low + 1)));
  }

 private:
  std::uint64_t seed_;
  std::uint32_t picture_, half_, block_ = 0;
  PhiloxWords words_{};
  int next_ = 4;
};

/// Place and size of one pattern.
struct Layout {
  Pattern pattern;
  int period = 0, phase_x = 0, phase_y = 0;                   // textures
  int direction = 1;                                          // diagonal stripes: 1 falls, -1 rises
  int centre_x = 0, centre_y = 0, radius = 0, thickness = 0;  // shapes
};

Layout draw_layout(Pattern pattern, PictureDraws& draws) {
  Layout layout{pattern};
  layout.period = draws.between(6 * kUnit, 12 * kUnit);
  layout.phase_x = draws.between(0, layout.period - 1);
  layout.phase_y = draws.between(0, layout.period - 1);
  layout.direction = draws.between(0, 1) == 0 ? 1 : -1;
  layout.radius = draws.between(6 * kUnit, 11 * kUnit);
  layout.thickness = draws.between(2 * kUnit, 3 * kUnit);
  // The whole shape stays inside the picture, at least one pixel from its edge.
  const int margin = layout.radius + kUnit;
  layout.centre_x = draws.between(margin, kSide * kUnit - margin);
  layout.centre_y = draws.between(margin, kSide * kUnit - margin);
  return layout;
}

bool inside_texture(const Layout& layout, int x, int y) {
  const int period = layout.period;
  // A diagonal's stripes are sqrt 2 times as far apart along x: 181 / 128.
  const int diagonal = period * 181 / 128;
  const int u = (x + layout.phase_x) % period, v = (y + layout.phase_y) % period;
  switch (layout.pattern) {
    case kHorizontalStripes:
      return 2 * v < period;
    case kVerticalStripes:
      return 2 * u < period;
    case kDiagonalStripes:
      return 2 * ((x + layout.direction * y + kSide * kUnit + layout.phase_x) % diagonal) < diagonal;
    case kCheckerboard:
      return (2 * u < period) != (2 * v < period);
    default: {  // dots: a disc of radius 0.3 periods in the middle of each cell
      const int du = 2 * u - period, dv = 2 * v - period;
      return 25 * (du * du + dv * dv) < 9 * period * period;
    }
  }
}

bool inside_shape(const Layout& layout, int x, int y) {
  const int dx = std::abs(x - layout.centre_x), dy = y - layout.centre_y, radius = layout.radius;
  const int squared = dx * dx + dy * dy;
  switch (layout.pattern) {
    case kDisc:
      return squared < radius * radius;
    case kRing: {
      const int inner = radius - layout.thickness;
      return squared < radius * radius && squared >= inner * inner;
    }
    case kSquare:
      return 8 * dx < 7 * radius && 8 * std::abs(dy) < 7 * radius;
    case kCross:
      return (dx < radius && std::abs(dy) < layout.thickness) ||
             (std::abs(dy) < radius && dx < layout.thickness);
    default:  // triangle: apex up, as wide at its base as it is high
      return dy > -radius && dy < radius && 2 * dx < dy + radius;
  }
}

struct Colours {
  std::array<int, kChannels> inside, outside;
};

/// Two colours far enough apart to tell the pattern from its background. Which is the brighter is left to
/// chance.
Colours draw_colours(PictureDraws& draws) {
  Colours colours{};
  int difference = 0;
  while (difference < 180) {
    difference = 0;
    for (std::size_t c = 0; c < kChannels; ++c) {
      colours.inside[c] = draws.between(16, 239);
      colours.outside[c] = draws.between(16, 239);
      difference += std::abs(colours.inside[c] - colours.outside[c]);
    }
  }
  return colours;
}

/// Fills one picture, (H, W, C).
void draw_picture(Pattern pattern, PictureDraws draws, std::uint8_t* pixels) {
  const Layout layout = draw_layout(pattern, draws);
  const Colours colours = draw_colours(draws);
  const int noise = draws.between(8, 40);  // half its width, in byte values
  const int slope_x = draws.between(-32, 32), slope_y = draws.between(-32, 32);  // light across the picture
  PhiloxWords grain{};
  int grain_left = 0;
  for (int row = 0; row < kSide; ++row) {
    for (int column = 0; column < kSide; ++column) {
      int covered = 0;
      for (int sample = 0; sample < kSamples; ++sample) {
        const int x = column * kUnit + 4 + 8 * (sample & 1), y = row * kUnit + 4 + 8 * (sample >> 1);
        covered += pattern < kDisc ? inside_texture(layout, x, y) : inside_shape(layout, x, y);
      }
      const int light = (slope_x * (2 * column - kSide + 1) + slope_y * (2 * row - kSide + 1)) / (2 * kSide);
      for (std::size_t c = 0; c < kChannels; ++c) {
        if (grain_left == 0) {
          grain = draws.block();
          grain_left = 16;
        }
        --grain_left;
        const int byte = static_cast<int>((grain.word[grain_left / 4] >> (8 * (grain_left % 4))) & 0xFFu);
        const int mixed =
            (colours.inside[c] * covered + colours.outside[c] * (kSamples - covered)) / kSamples;
        const int value = mixed + light + (2 * byte - 255) * noise / 255;
        *pixels++ = static_cast<std::uint8_t>(std::clamp(value, 0, 255));
      }
    }
  }
}

Pictures draw_pictures(std::uint64_t seed, std::int64_t count, std::uint32_t half) {
  Pictures pictures{count, kSide, kSide, kChannels, {}, {}};
  pictures.pixels.resize(static_cast<std::size_t>(count * pictures.bytes_each()));
  pictures.labels.resize(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) {
    const auto label = static_cast<std::int32_t>(i % kPatternCount);
    pictures.labels[static_cast<std::size_t>(i)] = label;
    draw_picture(static_cast<Pattern>(label), PictureDraws(seed, static_cast<std::uint32_t>(i), half),
                 pictures.pixels.data() + i * pictures.bytes_each());
  }
  return pictures;
}

}  // namespace

const std::vector<std::string>& generated_class_names() {
  static const std::vector<std::string> names = {"horizontal_stripes",
                                                 "vertical_stripes",
                                                 "diagonal_stripes",
                                                 "checkerboard",
                                                 "dots",
                                                 "disc",
                                                 "ring",
                                                 "square",
                                                 "cross",
                                                 "triangle"};
  return names;
}

Dataset generate_dataset(std::uint64_t seed, std::int64_t train_count, std::int64_t test_count) {
  if (train_count < 0 || test_count < 0) {
    fail(ErrorKind::usage,
         fmt::format("cannot generate {} training and {} test pictures", train_count, test_count));
  }
  Dataset set;
  set.name = "generated";
  set.class_names = generated_class_names();
  set.train = draw_pictures(seed, train_count, 0);
  set.test = draw_pictures(seed, test_count, 1);
  set.normalisation = *published_normalisation(set.name);
  set.origin = DataOrigin::generated;
  set.content_hash = content_hash_of(set.train, set.test);
  return set;
}

}  // namespace zeroth
