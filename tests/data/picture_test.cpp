#include <sys/stat.h>

#include <algorithm>

#include "data/lookup.h"
#include "data/order.h"
#include "data/picture_file.h"
#include "data/picture_folder.h"
#include "data/verify.h"
#include "tests/data/picture_writer.h"
#include "tests/data/scratch.h"

namespace zeroth::test {
namespace fs = std::filesystem;
namespace {

using Bytes = std::vector<std::uint8_t>;

/// 3 x 2 pixels, each its own.
const std::string kSix("\x0a\x14\x1e\x28\x32\x3c\x46\x50\x5a\x64\x6e\x78\x82\x8c\x96\xa0\xaa\xb4", 18);

Bytes decoded(const fs::path& path, const std::string& file) {
  write_text(path, file);
  return read_picture(path).pixels;
}

std::string plain_png(char value) {
  return png_file(12, 10, 8, kRgb, std::string(12 * 10 * 3, value));
}

/// Two classes of six pictures, whose values tell class and number.
void make_classes(const fs::path& folder) {
  for (int i = 0; i < 6; ++i) {
    write_text(folder / "cat" / (std::to_string(i) + ".png"), plain_png(static_cast<char>(10 + i)));
    write_text(folder / "ape" / (std::to_string(i) + ".PNG"), plain_png(static_cast<char>(100 + i)));
  }
}

}  // namespace

TEST_CASE("every kind of PNG becomes colour", "[pictures]") {
  const ScratchFolder scratch;
  const fs::path path = scratch / "a.png";
  CHECK(decoded(path, png_file(3, 2, 8, kRgb, kSix)) == Bytes(kSix.begin(), kSix.end()));
  CHECK(decoded(path, png_file(2, 1, 8, kGrey, "\x11\xf0")) == Bytes{0x11, 0x11, 0x11, 0xf0, 0xf0, 0xf0});
  CHECK(decoded(path, png_file(4, 1, 2, kGrey, "\x1b")) ==
        Bytes{0, 0, 0, 85, 85, 85, 170, 170, 170, 255, 255, 255});
  CHECK(decoded(path, png_file(2, 1, 16, kGrey, std::string("\x12\x34\xff\xff", 4))) ==
        Bytes{0x12, 0x12, 0x12, 255, 255, 255});
  CHECK(decoded(path, png_file(1, 1, 16, kRgb, std::string("\x12\x90\x00\x00\x80\x80", 6))) ==
        Bytes{0x12, 0, 0x80});
  const std::string palette = png_chunk("PLTE", std::string("\x01\x02\x03\x64\x65\x66", 6));
  CHECK(decoded(path, png_file(2, 1, 1, kPalette, "\x40", palette)) == Bytes{1, 2, 3, 100, 101, 102});
  // What is transparent lies on white.
  CHECK(decoded(path, png_file(2, 1, 1, kPalette, "\x40",
                               palette + png_chunk("tRNS", std::string("\x00\xff", 2)))) ==
        Bytes{255, 255, 255, 100, 101, 102});
  CHECK(decoded(path, png_file(2, 1, 8, kRgbAlpha, std::string("\x0a\x14\x1e\xff\x0a\x14\x1e\x00", 8))) ==
        Bytes{10, 20, 30, 255, 255, 255});
  CHECK(decoded(path, png_file(2, 1, 8, kGreyAlpha, std::string("\x0a\xff\x0a\x00", 4))) ==
        Bytes{10, 10, 10, 255, 255, 255});
  const Bytes half = decoded(path, png_file(1, 1, 8, kGreyAlpha, "\x01\x80"));
  CHECK(half[0] > 100);
  CHECK(half[0] < 220);
}

TEST_CASE("a JPEG stands upright", "[pictures]") {
  const ScratchFolder scratch;
  const fs::path path = scratch / "a.jpg";
  // Blocks of 8 x 8 in three greys: a b / c b. What each orientation shows, as Pillow's exif_transpose.
  std::string pixels;
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 24; ++x) {
      const char value = static_cast<char>(x >= 16 ? 250 : x >= 8 ? 170 : y < 8 ? 20 : 90);
      pixels += std::string(3, value);
    }
  }
  const std::string file = jpeg_file(24, 16, pixels);
  const std::vector<std::vector<int>> shown = {{20, 170, 250, 90, 170, 250}, {250, 170, 20, 250, 170, 90},
                                               {250, 170, 90, 250, 170, 20}, {90, 170, 250, 20, 170, 250},
                                               {20, 90, 170, 170, 250, 250}, {90, 20, 170, 170, 250, 250},
                                               {250, 250, 170, 170, 90, 20}, {250, 250, 170, 170, 20, 90}};
  for (int orientation = 1; orientation <= 8; ++orientation) {
    for (const bool little : {false, true}) {
      write_text(path, with_orientation(file, orientation, little));
      const RgbPicture picture = read_picture(path);
      const bool turned = orientation >= 5;
      REQUIRE(picture.width == (turned ? 16 : 24));
      REQUIRE(picture.height == (turned ? 24 : 16));
      for (int block = 0; block < 6; ++block) {
        const int across = turned ? 2 : 3, x = block % across * 8 + 4, y = block / across * 8 + 4;
        const int value = picture.pixels[static_cast<std::size_t>(3 * (y * picture.width + x))];
        INFO("orientation " << orientation << ", block " << block);
        CHECK(std::abs(value -
                       shown[static_cast<std::size_t>(orientation - 1)][static_cast<std::size_t>(block)]) <=
              3);
      }
    }
  }
  write_text(path, with_orientation(file, 77, true));
  CHECK(read_picture(path).width == 24);
  const auto exif = with_orientation(file, 6, true);
  for (std::size_t length = 0; length < 60; ++length) {  // whatever ends early, nothing is read beyond it
    exif_orientation({reinterpret_cast<const std::uint8_t*>(exif.data()), length});
  }
}

TEST_CASE("pictures that are damaged are named in one line", "[pictures]") {
  const ScratchFolder scratch;
  const fs::path path = scratch / "a.png";
  const auto failure = [&](const std::string& file) {
    write_text(path, file);
    const std::string message = message_of(ErrorKind::data, [&] { read_picture(path); });
    CHECK(contains(message, path.string()));
    return message;
  };
  const std::string png = png_file(3, 2, 8, kRgb, kSix);
  std::string pixels;
  for (int i = 0; i < 64 * 64 * 3; ++i) pixels += static_cast<char>(i * 7 + i / 100);
  const std::string jpeg = jpeg_file(64, 64, pixels);
  SECTION("cut anywhere") {
    for (std::size_t length = 0; length < png.size(); ++length) failure(png.substr(0, length));
    for (std::size_t length = 0; length < jpeg.size() - 2; length += length < 700 ? 1 : 61)
      failure(jpeg.substr(0, length));
  }
  SECTION("a bit changed in a PNG") {
    for (std::size_t at = 0; at < png.size(); ++at) {
      std::string bad = png;
      bad[at] = static_cast<char>(bad[at] ^ 1);
      failure(bad);
    }
  }
  SECTION("a bit changed in a JPEG ends in a picture or in one line") {
    for (std::size_t at = 0; at < jpeg.size(); at += 3) {
      std::string bad = jpeg;
      bad[at] = static_cast<char>(bad[at] ^ 8);
      write_text(path, bad);
      try {
        read_picture(path);
      } catch (const Error& error) {
        CHECK(error.kind() == ErrorKind::data);
        CHECK(std::string(error.what()).find('\n') == std::string::npos);
      }
    }
  }
  SECTION("other formats") {
    CHECK(contains(failure(""), "is empty"));
    CHECK(contains(failure("GIF89a......"), "is neither a PNG nor a JPEG file"));
    CHECK(contains(failure("\xff\xd8\xff\xe0 and no more"), "is damaged"));
    CHECK(contains(failure(jpeg_file(8, 8, std::string(256, '\x40'), true)), "four inks (CMYK)"));
  }
  SECTION("more pixels than its bytes can hold") {
    CHECK(contains(failure(png_file(9000, 9000, 16, kRgbAlpha, std::string(9, '\0'))),
                   "promises 9000 x 9000 pixels, which do not fit into its"));
    std::string largest(std::size_t{1} << 20, '\0');  // deflate's best still fits
    CHECK(decoded(path, png_file(1024, 1024, 8, kGrey, largest)).size() == 3 * largest.size());
  }
  SECTION("more pixels than there may be") {
    CHECK(contains(failure(png_file(60000, 60000, 1, kGrey, std::string(60000, '\0'))),
                   "has 60000 x 60000 pixels"));
    std::string bomb = jpeg;
    const std::size_t frame = bomb.find("\xff\xc0");
    REQUIRE(frame != std::string::npos);
    bomb.replace(frame + 5, 4, "\xff\x00\xff\x00", 4);
    CHECK(contains(failure(bomb), "has 65280 x 65280 pixels"));
  }
  SECTION("no plain file") {
    fs::create_directory(path);
    CHECK(contains(message_of(ErrorKind::data, [&] { read_picture(path); }), path.string()));
  }
}

TEST_CASE("a folder of class folders is split", "[pictures]") {
  const ScratchFolder scratch;
  make_classes(scratch / "mine");
  write_text(scratch / "mine/.DS_Store", "x");
  write_text(scratch / "mine/cat/.hidden.png", "x");
  const DatasetLocation location = find_dataset((scratch / "mine").string());
  CHECK(location.name == "pictures");
  const Dataset set = load_dataset(location, {.picture_size = 8, .test_share = 0.34});
  CHECK(set.class_names == std::vector<std::string>{"ape", "cat"});
  CHECK(set.train.count == 8);
  CHECK(set.test.count == 4);
  CHECK(set.train.height == 8);
  CHECK(set.train.channels == 3);
  CHECK(set.test_share == 0.34);
  CHECK(set.origin == DataOrigin::own);
  CHECK(set.notices.empty());
  // Every picture is in one half, with the label of its class.
  std::vector<int> seen;
  for (const Pictures* half : {&set.train, &set.test}) {
    for (std::size_t i = 0; i < half->labels.size(); ++i) {
      const int value = half->pixels[i * 192];
      CHECK(half->labels[i] == (value < 100 ? 1 : 0));
      seen.push_back(value);
    }
  }
  std::sort(seen.begin(), seen.end());
  CHECK(seen == std::vector<int>{10, 11, 12, 13, 14, 15, 100, 101, 102, 103, 104, 105});
  CHECK(load_dataset(location, {.picture_size = 8, .test_share = 0.34}).content_hash == set.content_hash);
  CHECK(load_dataset(location).train.height == kPictureSize);
  CHECK(contains(verify_dataset((scratch / "mine").string()).summary(),
                 "10 training pictures (5 of each class), 2 test pictures"));
}

TEST_CASE("a folder with halves of its own", "[pictures]") {
  const ScratchFolder scratch;
  make_classes(scratch / "mine/train");
  make_classes(scratch / "mine/val");
  const std::string folder = (scratch / "mine").string();
  const auto load = [&] { return load_dataset(find_dataset(folder)); };
  SECTION("val counts as test") {
    const Dataset set = load();
    CHECK(set.train.count == 12);
    CHECK(set.test.count == 12);
    CHECK_FALSE(set.test_share.has_value());
  }
  SECTION("test comes before val, which is told") {
    make_classes(scratch / "mine/test");
    fs::remove_all(scratch / "mine/test/ape");
    const Dataset set = load();
    CHECK(set.test.count == 6);
    CHECK(set.test.labels == std::vector<std::int32_t>(6, 1));
    REQUIRE(set.notices.size() == 1);
    CHECK(contains(set.notices[0], "passed over 1 entry"));
    CHECK(contains(set.notices[0], (scratch / "mine/val").string()));
  }
  SECTION("links are followed, what is no picture by its name is told") {
    fs::create_symlink(scratch / "mine/train/cat/0.png", scratch / "mine/train/cat/9.png");
    write_text(scratch / "mine/train/cat/notes.txt", "x");
    fs::create_directory(scratch / "mine/train/cat/more");
    const Dataset set = load();
    CHECK(set.train.count == 13);
    REQUIRE(set.notices.size() == 1);
    CHECK(contains(set.notices[0], "passed over 2 entries that are no picture of a class, first "));
  }
  SECTION("neither test nor val") {
    fs::remove_all(scratch / "mine/val");
    CHECK(contains(message_of(ErrorKind::data, load), "neither test nor val"));
  }
  SECTION("a test class that is not trained") {
    write_text(scratch / "mine/val/dog/a.png", plain_png(1));
    CHECK(contains(message_of(ErrorKind::data, load), "val/dog is a class that"));
  }
  SECTION("an empty class") {
    fs::create_directory(scratch / "mine/train/dog");
    CHECK(contains(message_of(ErrorKind::data, load), "train/dog holds no PNG or JPEG picture"));
  }
  SECTION("a damaged picture: the first in order is named") {
    write_text(scratch / "mine/train/cat/3.png", plain_png(1).substr(0, 70));
    write_text(scratch / "mine/train/ape/5.PNG", "no picture");
    CHECK(contains(message_of(ErrorKind::data, load), "train/ape/5.PNG is neither a PNG nor a JPEG file"));
  }
  SECTION("a dead link and a pipe") {
    fs::create_symlink(scratch / "nothing", scratch / "mine/train/cat/7.png");
    CHECK(contains(message_of(ErrorKind::data, load), "7.png is a link that leads nowhere"));
    fs::remove(scratch / "mine/train/cat/7.png");
    REQUIRE(::mkfifo((scratch / "mine/train/cat/7.png").c_str(), 0600) == 0);
    CHECK(contains(message_of(ErrorKind::data, load), "7.png is no plain file"));
  }
  SECTION("names that are no text") {
    write_text(scratch / "mine/train" / "d\xffg" / "a.png", plain_png(1));
    CHECK(contains(message_of(ErrorKind::data, load), "no line of UTF-8"));
  }
}

TEST_CASE("folders that are no set of pictures", "[pictures]") {
  const ScratchFolder scratch;
  const auto failure = [&] {
    return message_of(ErrorKind::data, [&] { load_dataset(find_dataset(scratch.path().string())); });
  };
  write_text(scratch / "loose.png", plain_png(1));
  CHECK(contains(failure(), "or a folder of PNG or JPEG pictures for each class"));
  write_text(scratch / "cat/1.png", plain_png(1));
  CHECK(contains(failure(), "cat holds one picture; it takes two"));
  write_text(scratch / "cat/2.png", plain_png(1));
  CHECK(contains(failure(), "holds 1 class; it takes two"));
  write_text(scratch / "train/1.png", plain_png(1));  // a class of trains, not a half
  write_text(scratch / "train/2.png", plain_png(2));
  const Dataset set = load_dataset(find_dataset(scratch.path().string()));
  CHECK(set.class_names == std::vector<std::string>{"cat", "train"});
}

TEST_CASE("a share is held out of every class", "[order]") {
  std::vector<std::int32_t> labels;
  for (int i = 0; i < 100; ++i) labels.push_back(i < 90 ? 0 : i < 98 ? 1 : 2);
  const Split split = share_split(labels, 3, 0.2);
  std::vector<int> held(3, 0);
  for (const std::int32_t index : split.validation)
    ++held[static_cast<std::size_t>(labels[static_cast<std::size_t>(index)])];
  CHECK(held == std::vector<int>{18, 2, 1});
  CHECK(split.train.size() + split.validation.size() == 100);
  CHECK(std::is_sorted(split.train.begin(), split.train.end()));
  CHECK(share_split(labels, 3, 0.999).train.size() == 3);  // one of each class stays
  message_of(ErrorKind::usage, [&] { share_split(labels, 3, 0.0); });
  message_of(ErrorKind::usage, [&] { share_split(labels, 3, 1.0); });
  message_of(ErrorKind::usage, [&] { share_split(labels, 4, 0.5); });
}

}  // namespace zeroth::test
