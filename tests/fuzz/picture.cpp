// A PNG or JPEG file of at most a million pixels, decoded in this process, turned and resampled.
#include "data/picture_file.h"
#include "data/resize.h"
#include "tests/fuzz/target.h"

namespace zeroth::fuzz {

void fuzz(Bytes input) {
  const std::vector<std::uint8_t> file(input.begin(), input.end());
  expect_answer([&] {
    const RgbPicture picture = decode_picture("fuzzed.png", file, 1 << 20);
    const std::size_t bytes =
        static_cast<std::size_t>(picture.width) * static_cast<std::size_t>(picture.height) * 3;
    expect(picture.width > 0 && picture.height > 0 && picture.pixels.size() == bytes, "pixels are missing");
    std::vector<std::uint8_t> square(8 * 8 * 3);
    resample_square(picture.pixels, picture.width, picture.height, 3, 8, square);
  });
  static_cast<void>(exif_orientation(input));
}

}  // namespace zeroth::fuzz
