#include "apps/plot/font.h"

#define STBTT_STATIC
#define STB_TRUETYPE_IMPLEMENTATION
#include <stb/stb_truetype.h>

#include "apps/plot/drawing.h"
#include "apps/plot/embedded_font.h"
#include "kernels/core/error.h"

namespace zeroth::plot {

namespace {

const stbtt_fontinfo& font() {
  static const stbtt_fontinfo info = [] {
    stbtt_fontinfo result;
    const auto* data = reinterpret_cast<const unsigned char*>(kEmbeddedFont);
    require(stbtt_InitFont(&result, data, stbtt_GetFontOffsetForIndex(data, 0)) != 0,
            "the font that was built in can be read");
    return result;
  }();
  return info;
}

float scale_of(double size) {
  return stbtt_ScaleForMappingEmToPixels(&font(), static_cast<float>(size));
}

}  // namespace

std::vector<int> code_points(const std::string& text) {
  std::vector<int> points;
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = [&](std::size_t at) {
      return at < text.size() ? static_cast<unsigned char>(text[at]) : 0u;
    };
    const unsigned first = byte(i);
    const int more = first < 0x80 ? 0 : first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
    unsigned point = more == 0 ? first : first & (0x3Fu >> more);
    bool valid = first < 0x80 || (first >= 0xC2 && first < 0xF5);
    for (int k = 1; k <= more && valid; ++k) {
      const unsigned next = byte(i + static_cast<std::size_t>(k));
      valid = (next & 0xC0u) == 0x80u;
      point = point << 6 | (next & 0x3Fu);
    }
    points.push_back(valid ? static_cast<int>(point) : 0xFFFD);
    i += valid ? static_cast<std::size_t>(more) + 1 : 1;
  }
  return points;
}

std::vector<double> pen_positions(const std::vector<int>& text, double size) {
  std::vector<double> positions{0.0};
  for (std::size_t i = 0; i < text.size(); ++i) {
    int advance = 0, bearing = 0;
    stbtt_GetCodepointHMetrics(&font(), text[i], &advance, &bearing);
    if (i + 1 < text.size()) advance += stbtt_GetCodepointKernAdvance(&font(), text[i], text[i + 1]);
    positions.push_back(positions.back() + static_cast<double>(scale_of(size)) * advance);
  }
  return positions;
}

Glyph render(int code_point, double size, double shift_x, double shift_y) {
  Glyph glyph;
  int right = 0, bottom = 0;
  const float scale = scale_of(size), x = static_cast<float>(shift_x), y = static_cast<float>(shift_y);
  stbtt_GetCodepointBitmapBoxSubpixel(&font(), code_point, scale, scale, x, y, &glyph.left, &glyph.top,
                                      &right, &bottom);
  glyph.width = right - glyph.left;
  glyph.height = bottom - glyph.top;
  if (glyph.width <= 0 || glyph.height <= 0) return {};  // a space
  glyph.coverage.resize(static_cast<std::size_t>(glyph.width) * static_cast<std::size_t>(glyph.height));
  stbtt_MakeCodepointBitmapSubpixel(&font(), glyph.coverage.data(), glyph.width, glyph.height, glyph.width,
                                    scale, scale, x, y, code_point);
  return glyph;
}

double text_width(const std::string& text, double size) {
  return pen_positions(code_points(text), size).back();
}

double capital_height(double size) {
  return 0.729 * size;  // DejaVu Sans: 1493 of 2048 units of an em
}

}  // namespace zeroth::plot
