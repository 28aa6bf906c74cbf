#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace zeroth {

/// A decoded picture: (H, W, 3) bytes in sRGB.
struct RgbPicture {
  int width = 0, height = 0;
  std::vector<std::uint8_t> pixels;
};

/// Decodes a PNG or JPEG file, told apart by its first bytes, whatever it is called. Grey and palettes become
/// colour; 16 bits become 8, rounded; what is transparent lies on white; a JPEG is turned upright as its EXIF
/// orientation says. Colour profiles are not applied. Errors: data, one line that names the file: not to be
/// read, neither format, damaged or cut short, CMYK, larger than 256 MB or 100 million pixels, a PNG with
/// more pixels than its bytes can hold. The decoders run in this process: PictureReader takes a child's.
RgbPicture read_picture(const std::filesystem::path& path);

/// A picture may have so many pixels.
inline constexpr std::uint64_t kMostPixels = 100'000'000;

/// The same of a file's bytes; `path` is what messages call them.
RgbPicture decode_picture(const std::filesystem::path& path, const std::vector<std::uint8_t>& file,
                          std::uint64_t most_pixels = kMostPixels);

/// EXIF's orientation of a JPEG file, 1 to 8 (1: upright); 1 where it has none or one that cannot be.
int exif_orientation(std::span<const std::uint8_t> jpeg);

/// The picture as it is to be seen, given EXIF's orientation of it.
RgbPicture turned_upright(RgbPicture picture, int orientation);

}  // namespace zeroth
