#include "tests/data/picture_writer.h"

#include <turbojpeg.h>
#include <zlib.h>

#include "tests/catch.h"
#include "tests/data/packed.h"

namespace zeroth::test {
namespace {

std::string big_endian(std::uint32_t value, int bytes = 4) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) text += static_cast<char>(value >> (8 * i) & 255);
  return text;
}

}  // namespace

std::string png_chunk(const std::string& type, const std::string& data) {
  const std::string body = type + data;
  const auto sum = crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
  return big_endian(static_cast<std::uint32_t>(data.size())) + body +
         big_endian(static_cast<std::uint32_t>(sum));
}

std::string png_file(std::uint32_t width, std::uint32_t height, int bit_depth, int colour_type,
                     const std::string& rows, const std::string& chunks) {
  std::string filtered;
  const std::size_t each = rows.size() / height;
  for (std::size_t y = 0; y < height; ++y) filtered += '\0' + rows.substr(y * each, each);
  const std::string header = big_endian(width) + big_endian(height) + static_cast<char>(bit_depth) +
                             static_cast<char>(colour_type) + std::string(3, '\0');
  return "\x89PNG\r\n\x1a\n" + png_chunk("IHDR", header) + chunks +
         png_chunk("IDAT", packed_as(Packing::zlib, filtered)) + png_chunk("IEND", "");
}

std::string jpeg_file(int width, int height, const std::string& pixels, bool cmyk) {
  const tjhandle encoder = tjInitCompress();
  REQUIRE(encoder != nullptr);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  const int status = tjCompress2(encoder, reinterpret_cast<const unsigned char*>(pixels.data()), width, 0,
                                 height, cmyk ? TJPF_CMYK : TJPF_RGB, &bytes, &size, TJSAMP_444, 100, 0);
  REQUIRE(status == 0);
  std::string file(reinterpret_cast<const char*>(bytes), size);
  tjFree(bytes);
  tjDestroy(encoder);
  return file;
}

std::string with_orientation(const std::string& jpeg, int orientation, bool little_endian) {
  const auto number = [&](std::uint32_t value, int bytes) {
    const std::string text = big_endian(value, bytes);
    return little_endian ? std::string(text.rbegin(), text.rend()) : text;
  };
  const std::string entry = number(0x0112, 2) + number(3, 2) + number(1, 4) +
                            number(static_cast<std::uint32_t>(orientation), 2) + std::string(2, '\0');
  const std::string tiff = std::string(little_endian ? "II" : "MM") + number(42, 2) + number(8, 4) +
                           number(1, 2) + entry + number(0, 4);
  const std::string body = std::string("Exif\0\0", 6) + tiff;
  return jpeg.substr(0, 2) + "\xff\xe1" + big_endian(static_cast<std::uint32_t>(body.size() + 2), 2) + body +
         jpeg.substr(2);
}

}  // namespace zeroth::test
