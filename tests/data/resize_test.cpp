#include "data/resize.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "tests/catch.h"

namespace zeroth::test {
namespace {

std::vector<std::uint8_t> resampled(const std::vector<std::uint8_t>& source, int width, int height,
                                    int channels, int size) {
  std::vector<std::uint8_t> result(static_cast<std::size_t>(size) *
                                   static_cast<std::size_t>(size * channels));
  resample_square(source, width, height, channels, size, result);
  return result;
}

}  // namespace

TEST_CASE("resampling agrees with Pillow to one level", "[resize]") {
  // Pillow 9.4: Image.resize((n, n), BILINEAR, box=(3, 0, 14, 11)) of this picture of 17 x 11.
  std::vector<std::uint8_t> source;
  for (int y = 0; y < 11; ++y) {
    for (int x = 0; x < 17; ++x) {
      for (int c = 0; c < 3; ++c)
        source.push_back(static_cast<std::uint8_t>(x * 37 + y * 91 + c * 53 + x * y % 17 * 5));
    }
  }
  const std::vector<int> smaller = {116, 124, 132, 126, 110, 125, 126, 112, 128, 138, 145, 130,
                                    119, 119, 131, 139, 103, 113, 142, 138, 136, 141, 121, 141,
                                    112, 126, 118, 131, 105, 127, 122, 139, 148, 141, 129, 141,
                                    131, 112, 110, 141, 131, 111, 138, 143, 129, 103, 133, 134};
  const std::vector<int> larger = {105, 158, 211, 131, 184, 237, 156, 209, 206, 182, 235, 56,
                                   207, 108, 57,  160, 29,  82,  10,  55,  108, 27,  80,  133};
  const auto furthest = [](const std::vector<std::uint8_t>& ours, const std::vector<int>& theirs) {
    int most = 0;
    for (std::size_t i = 0; i < theirs.size(); ++i) most = std::max(most, std::abs(ours[i] - theirs[i]));
    return most;
  };
  const std::vector<std::uint8_t> four = resampled(source, 17, 11, 3, 4),
                                  sixteen = resampled(source, 17, 11, 3, 16);
  CHECK(furthest(four, smaller) <= 1);
  CHECK(furthest(sixteen, larger) <= 1);
  const int sum = std::accumulate(sixteen.begin(), sixteen.end(), 0);
  CHECK(std::abs(sum - 97593) < 100);  // of 768 values
}

TEST_CASE("resampling to the same size crops the middle", "[resize]") {
  std::vector<std::uint8_t> wide(5 * 3), tall(3 * 5);
  std::iota(wide.begin(), wide.end(), std::uint8_t{0});
  std::iota(tall.begin(), tall.end(), std::uint8_t{0});
  CHECK(resampled(wide, 5, 3, 1, 3) == std::vector<std::uint8_t>{1, 2, 3, 6, 7, 8, 11, 12, 13});
  CHECK(resampled(tall, 3, 5, 1, 3) == std::vector<std::uint8_t>{3, 4, 5, 6, 7, 8, 9, 10, 11});
}

TEST_CASE("a fine pattern becomes grey, not another pattern", "[resize]") {
  std::vector<std::uint8_t> stripes(64 * 64);
  for (std::size_t i = 0; i < stripes.size(); ++i) stripes[i] = i % 2 == 0 ? 255 : 0;
  const std::vector<std::uint8_t> small = resampled(stripes, 64, 64, 1, 9);
  CHECK(*std::min_element(small.begin(), small.end()) >= 120);
  CHECK(*std::max_element(small.begin(), small.end()) <= 135);
  CHECK(resampled(std::vector<std::uint8_t>(64 * 64, 200), 64, 64, 1, 9) ==
        std::vector<std::uint8_t>(81, 200));
  CHECK(resampled({7}, 1, 1, 1, 8) == std::vector<std::uint8_t>(64, 7));
}

TEST_CASE("a whole half is resampled", "[resize]") {
  Pictures pictures{2, 2, 2, 1, {10, 10, 10, 10, 50, 50, 50, 50}, {0, 1}};
  resample_square(pictures, 3);
  CHECK(pictures.height == 3);
  CHECK(pictures.width == 3);
  CHECK(pictures.pixels.size() == 18);
  CHECK(pictures.pixels[8] == 10);
  CHECK(pictures.pixels[9] == 50);
}

}  // namespace zeroth::test
