#pragma once

#include <cstdint>
#include <string>

namespace zeroth::test {

/// PNG's colour types.
inline constexpr int kGrey = 0, kRgb = 2, kPalette = 3, kGreyAlpha = 4, kRgbAlpha = 6;

/// A chunk with its length and checksum.
std::string png_chunk(const std::string& type, const std::string& data);

/// A PNG file written by hand: `rows` are the bytes of each row in order, not filtered; `chunks` stand before
/// the picture (a palette, what is transparent).
std::string png_file(std::uint32_t width, std::uint32_t height, int bit_depth, int colour_type,
                     const std::string& rows, const std::string& chunks = "");

/// A JPEG file of quality 100 without subsampling. pixels: (height, width, 3), with `cmyk` (height, width,
/// 4).
std::string jpeg_file(int width, int height, const std::string& pixels, bool cmyk = false);

/// The file with an EXIF block of that orientation, in either byte order.
std::string with_orientation(const std::string& jpeg, int orientation, bool little_endian);

}  // namespace zeroth::test
