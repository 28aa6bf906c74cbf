#include "data/picture_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <png.h>
#include <turbojpeg.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>

#include "data/files.h"
#include "data/unpack.h"
#include "kernels/core/error.h"

namespace zeroth {
namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kLargestFile = std::uint64_t{1} << 28;
constexpr std::array<std::uint8_t, 8> kPngStart = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
constexpr std::array<std::uint8_t, 3> kJpegStart = {0xff, 0xd8, 0xff};

template <std::size_t N>
bool begins_with(const std::vector<std::uint8_t>& file, const std::array<std::uint8_t, N>& start) {
  return file.size() >= N && std::equal(start.begin(), start.end(), file.begin());
}

[[noreturn]] void fail_picture(const fs::path& path, const std::string& what) {
  fail(ErrorKind::data, fmt::format("{} {}; repair it or remove it", path.string(), what));
}

void check_pixels(const fs::path& path, std::uint64_t width, std::uint64_t height, std::uint64_t most) {
  if (width == 0 || height == 0) fail_picture(path, "is damaged: it has no size");
  if (width > most || height > most || width * height > most) {
    fail_picture(path, fmt::format("has {} x {} pixels, more than {}", width, height, most));
  }
}

std::uint32_t big_endian(const std::uint8_t* bytes) {
  return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 | std::uint32_t{bytes[2]} << 8 |
         bytes[3];
}

/// libpng stops reading behind the last row: what is missing or changed after it is seen here. Every chunk
/// has a length, a type, its data and their CRC.
void check_chunks(const fs::path& path, const std::vector<std::uint8_t>& file) {
  std::size_t at = kPngStart.size();
  while (file.size() - at >= 12) {
    const std::uint8_t* const chunk = file.data() + at;
    const std::size_t length = big_endian(chunk);
    if (length > file.size() - at - 12) break;
    const std::string type(chunk + 4, chunk + 8);
    if (crc32(0, chunk + 4, static_cast<uInt>(length + 4)) != big_endian(chunk + 8 + length)) {
      fail_picture(path, fmt::format("is damaged: the checksum of its {} is wrong", type));
    }
    if (type == "IEND") return;
    at += length + 12;
  }
  fail_picture(path, "is truncated");
}

/// Whether the bytes of a PNG file can unpack to as many as its header promises, before memory is taken for
/// them. The header is the first chunk, as libpng has found: width, height, bits of a sample, colour type.
void check_promise(const fs::path& path, const std::vector<std::uint8_t>& file) {
  const std::uint8_t* const header = file.data() + kPngStart.size() + 8;
  const std::uint64_t width = big_endian(header), height = big_endian(header + 4);
  const std::uint64_t samples = header[9] == 2 ? 3 : header[9] == 4 ? 2 : header[9] == 6 ? 4 : 1;
  if ((width * samples * header[8] + 7) / 8 * height > kMostExpansion * file.size()) {
    fail_picture(path, fmt::format("promises {} x {} pixels, which do not fit into its {} bytes", width,
                                   height, file.size()));
  }
}

RgbPicture read_png(const fs::path& path, const std::vector<std::uint8_t>& file, std::uint64_t most_pixels) {
  check_chunks(path, file);
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  const std::unique_ptr<png_image, decltype(&png_image_free)> guard(&image, &png_image_free);
  if (png_image_begin_read_from_memory(&image, file.data(), file.size()) == 0) {
    fail_picture(path, fmt::format("is damaged: {}", image.message));
  }
  check_pixels(path, image.width, image.height, most_pixels);
  check_promise(path, file);
  image.format = PNG_FORMAT_RGB;
  image.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;  // without it, 16 bits would be taken for linear light
  RgbPicture picture{static_cast<int>(image.width), static_cast<int>(image.height), {}};
  picture.pixels.resize(PNG_IMAGE_SIZE(image));
  const png_color white = {255, 255, 255};
  if (png_image_finish_read(&image, &white, picture.pixels.data(), 0, nullptr) == 0) {
    fail_picture(path, fmt::format("is damaged: {}", image.message));
  }
  return picture;
}

RgbPicture read_jpeg(const fs::path& path, const std::vector<std::uint8_t>& file, std::uint64_t most_pixels) {
  const std::unique_ptr<void, decltype(&tjDestroy)> decoder(tjInitDecompress(), &tjDestroy);
  if (decoder == nullptr) fail(ErrorKind::runtime, "libjpeg-turbo could not be started");
  const auto fail_damaged = [&] {
    fail_picture(path, fmt::format("is damaged: {}", tjGetErrorStr2(decoder.get())));
  };
  const auto size = static_cast<unsigned long>(file.size());
  int width = 0, height = 0, subsampling = 0, colours = 0;
  if (tjDecompressHeader3(decoder.get(), file.data(), size, &width, &height, &subsampling, &colours) != 0) {
    fail_damaged();
  }
  if (colours == TJCS_CMYK || colours == TJCS_YCCK) {
    fail(ErrorKind::data, fmt::format("{} is a JPEG of four inks (CMYK); convert it to RGB", path.string()));
  }
  check_pixels(path, static_cast<std::uint64_t>(width), static_cast<std::uint64_t>(height), most_pixels);
  RgbPicture picture{width, height, {}};
  picture.pixels.resize(3 * static_cast<std::size_t>(width) * static_cast<std::size_t>(height));
  if (tjDecompress2(decoder.get(), file.data(), size, picture.pixels.data(), width, 0, height, TJPF_RGB,
                    TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS) != 0) {
    fail_damaged();
  }
  return turned_upright(std::move(picture), exif_orientation(file));
}

}  // namespace

RgbPicture read_picture(const fs::path& path) {
  const std::uint64_t size = OpenFile(path, O_RDONLY | O_NONBLOCK).size();
  if (size > kLargestFile) fail_picture(path, fmt::format("has {} bytes, more than {}", size, kLargestFile));
  return decode_picture(path, read_file(path, size, ""));
}

RgbPicture decode_picture(const fs::path& path, const std::vector<std::uint8_t>& file,
                          std::uint64_t most_pixels) {
  if (begins_with(file, kPngStart)) return read_png(path, file, most_pixels);
  if (begins_with(file, kJpegStart)) return read_jpeg(path, file, most_pixels);
  fail_picture(path, file.empty() ? "is empty" : "is neither a PNG nor a JPEG file");
}

}  // namespace zeroth
