#include <cstring>

#include "data/picture_file.h"

namespace zeroth {

namespace {

constexpr std::uint8_t kMarker = 0xff, kStartOfScan = 0xda, kApp1 = 0xe1;
constexpr std::uint32_t kOrientationTag = 0x0112, kShort = 3;
constexpr std::size_t kEntry = 12;

/// TIFF's numbers, in the byte order the block names; 0 beyond its end.
struct TiffBlock {
  std::span<const std::uint8_t> bytes;
  bool little;

  std::uint32_t number(std::size_t at, std::size_t size) const {
    if (at > bytes.size() || bytes.size() - at < size) return 0;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < size; ++i) value = value << 8 | bytes[at + (little ? size - 1 - i : i)];
    return value;
  }
};

int orientation_in(std::span<const std::uint8_t> tiff) {
  if (tiff.size() < 8) return 1;
  const TiffBlock block{tiff, tiff[0] == 'I'};
  if (tiff[0] != tiff[1] || (tiff[0] != 'I' && tiff[0] != 'M') || block.number(2, 2) != 42) return 1;
  const std::size_t directory = block.number(4, 4);
  const std::uint32_t entries = block.number(directory, 2);
  for (std::uint32_t i = 0; i < entries; ++i) {
    const std::size_t at = directory + 2 + kEntry * i;
    if (block.number(at, 2) != kOrientationTag || block.number(at + 2, 2) != kShort) continue;
    const std::uint32_t value = block.number(at + 8, 2);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

}  // namespace

int exif_orientation(std::span<const std::uint8_t> jpeg) {
  std::size_t at = 2;  // behind the start of the image
  while (at + 4 <= jpeg.size() && jpeg[at] == kMarker && jpeg[at + 1] != kStartOfScan) {
    const std::size_t length = std::size_t{jpeg[at + 2]} << 8 | jpeg[at + 3];
    if (length < 2 || length > jpeg.size() - at - 2) break;
    const std::span<const std::uint8_t> body = jpeg.subspan(at + 4, length - 2);
    if (jpeg[at + 1] == kApp1 && body.size() > 6 && std::memcmp(body.data(), "Exif\0", 6) == 0) {
      return orientation_in(body.subspan(6));
    }
    at += 2 + length;
  }
  return 1;
}

RgbPicture turned_upright(RgbPicture picture, int orientation) {
  if (orientation <= 1 || orientation > 8) return picture;
  // TIFF 6.0, "Orientation": what the stored first row and first column are in the picture to be seen.
  const bool swapped = orientation >= 5;
  const bool mirrored = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool upside_down = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  RgbPicture turned{swapped ? picture.height : picture.width, swapped ? picture.width : picture.height, {}};
  turned.pixels.resize(picture.pixels.size());
  std::uint8_t* out = turned.pixels.data();
  for (int y = 0; y < turned.height; ++y) {
    for (int x = 0; x < turned.width; ++x, out += 3) {
      int column = swapped ? y : x, row = swapped ? x : y;
      if (mirrored) column = picture.width - 1 - column;
      if (upside_down) row = picture.height - 1 - row;
      std::memcpy(
          out,
          picture.pixels.data() + 3 * (std::size_t(row) * std::size_t(picture.width) + std::size_t(column)),
          3);
    }
  }
  return turned;
}

}  // namespace zeroth
