#include "data/idx.h"

#include <array>
#include <cmath>

#include "data/lookup.h"
#include "data/verify.h"
#include "tests/data/packed.h"
#include "tests/data/scratch.h"

namespace zeroth::test {
namespace fs = std::filesystem;
namespace {

std::string header(std::initializer_list<std::uint32_t> extents) {
  std::string bytes{'\0', '\0', '\x08', static_cast<char>(extents.size())};
  for (const std::uint32_t extent : extents) {
    for (const int shift : {24, 16, 8, 0}) bytes += static_cast<char>(extent >> shift & 255);
  }
  return bytes;
}

/// `count` pictures of height x width; pixel j of picture i is (3 i + j) mod 251.
std::string pictures(std::uint32_t count, std::uint32_t height, std::uint32_t width) {
  std::string bytes = header({count, height, width});
  for (std::uint32_t i = 0; i < count; ++i) {
    for (std::uint32_t j = 0; j < height * width; ++j) bytes += static_cast<char>((3 * i + j) % 251);
  }
  return bytes;
}

std::string labels(std::uint32_t count, std::uint32_t classes) {
  std::string bytes = header({count});
  for (std::uint32_t i = 0; i < count; ++i) bytes += static_cast<char>(i % classes);
  return bytes;
}

/// 12 training and 6 test pictures of 5 x 4 in three classes, half of the files packed.
void make_small(const fs::path& folder) {
  write_text(folder / "train-images-idx3-ubyte.gz", packed_as(Packing::gzip, pictures(12, 5, 4)));
  write_text(folder / "train-labels-idx1-ubyte", labels(12, 3));
  write_text(folder / "t10k-images-idx3-ubyte", pictures(6, 5, 4));
  write_text(folder / "t10k-labels-idx1-ubyte.gz", packed_as(Packing::gzip, labels(6, 3)));
}

}  // namespace

TEST_CASE("pictures and labels of IDX files, packed or not", "[idx]") {
  const ScratchFolder scratch;
  make_small(scratch / "mine");
  const DatasetLocation location = find_dataset((scratch / "mine").string());
  CHECK(location.name == "idx");
  const Dataset set = load_dataset(location);
  CHECK(set.train.count == 12);
  CHECK(set.test.count == 6);
  CHECK(set.train.height == 5);
  CHECK(set.train.width == 4);
  CHECK(set.train.channels == 1);
  CHECK(set.classes() == 3);
  CHECK(set.class_names[2] == "2");
  CHECK(set.origin == DataOrigin::own);
  CHECK_FALSE(set.mirrors);
  CHECK(set.train.labels == std::vector<std::int32_t>{0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2});
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < 12; ++i) {
    for (std::size_t j = 0; j < 20; ++j) wrong += set.train.pixels[20 * i + j] != (3 * i + j) % 251;
  }
  CHECK(wrong == 0);
  const VerifyReport report = verify_dataset((scratch / "mine").string());
  CHECK(contains(report.summary(),
                 "12 training pictures (4 of each class), 6 test pictures (2 of each class)"));
  CHECK(contains(report.summary(), "nothing is published"));
}

TEST_CASE("IDX files that are not in order are named in one line", "[idx]") {
  const ScratchFolder scratch;
  make_small(scratch.path());
  const auto failure = [&] { return message_of(ErrorKind::data, [&] { read_idx(scratch.path(), "idx"); }); };
  const fs::path packed = scratch / "train-images-idx3-ubyte.gz", plain = scratch / "t10k-images-idx3-ubyte";
  SECTION("truncated") {
    const std::string whole = read_text(plain);
    for (const std::size_t length : {std::size_t{0}, std::size_t{1}, std::size_t{15}}) {
      write_text(plain, whole.substr(0, length));
      CHECK(contains(failure(), plain.string() + " is no IDX file of bytes in 3 dimensions"));
    }
    for (const std::size_t length : {std::size_t{16}, whole.size() - 1}) {
      write_text(plain, whole.substr(0, length));
      CHECK(contains(failure(), plain.string()));
    }
  }
  SECTION("a packed file cut anywhere, or with a bit changed") {
    const std::string whole = read_text(packed);
    for (std::size_t length = 3; length < whole.size(); ++length) {
      write_text(packed, whole.substr(0, length));
      failure();
    }
    std::size_t unseen = 0;
    for (std::size_t at = 10; at < whole.size(); ++at) {  // the first ten bytes hold a time and a system
      std::string bad = whole;
      bad[at] = static_cast<char>(bad[at] ^ 16);
      write_text(packed, bad);
      try {
        read_idx(scratch.path(), "idx");
        ++unseen;
      } catch (const Error& error) {
        CHECK(error.kind() == ErrorKind::data);
      }
    }
    CHECK(unseen == 0);
  }
  SECTION("longer than the header says") {
    write_text(plain, pictures(6, 5, 4) + "x");
    CHECK(contains(failure(), "is longer than the 120 bytes"));
    write_text(packed, packed_as(Packing::gzip, pictures(12, 5, 4) + "x"));
    CHECK(contains(failure(), "is longer than the 240 bytes"));
  }
  SECTION("something behind the packed file") {
    write_text(packed, packed_as(Packing::gzip, pictures(12, 5, 4)) + "x");
    CHECK(contains(failure(), "something follows"));
  }
  SECTION("a header that promises more than can be there") {
    write_text(packed, packed_as(Packing::gzip, header({0xffffffff, 1024, 1024})));
    CHECK(contains(failure(), "promises 4503599626321920 bytes"));
    write_text(packed, packed_as(Packing::gzip, header({60000, 28, 28}) + "xyz"));
    CHECK(contains(failure(), "promises 47040000 bytes"));
  }
  SECTION("extents that cannot be") {
    write_text(plain, header({0, 5, 4}));
    CHECK(contains(failure(), "its dimension 0 is 0"));
    write_text(plain, header({6, 5000, 4}));
    CHECK(contains(failure(), "its dimension 1 is 5000"));
  }
  SECTION("labels in place of pictures, floats in place of bytes") {
    write_text(plain, labels(200, 3));
    CHECK(contains(failure(), "is no IDX file of bytes in 3 dimensions"));
    std::string floats = pictures(6, 5, 4);
    floats[2] = 0x0d;
    write_text(plain, floats);
    CHECK(contains(failure(), "is no IDX file of bytes in 3 dimensions"));
  }
  SECTION("pictures and labels of different counts") {
    write_text(plain, pictures(7, 5, 4));
    CHECK(contains(failure(), "has 7 pictures, but"));
  }
  SECTION("test pictures of another size") {
    write_text(plain, pictures(6, 4, 5));
    CHECK(contains(failure(), "training pictures are 5 x 4, test pictures 4 x 5"));
  }
  SECTION("a test label that no training picture has") {
    write_text(scratch / "t10k-labels-idx1-ubyte.gz", packed_as(Packing::gzip, labels(6, 4)));
    CHECK(contains(failure(), "label 3 is 3, expected 0 to 2"));
  }
  SECTION("missing files") {
    fs::remove(plain);
    CHECK(contains(failure(), "lacks t10k-images-idx3-ubyte.gz of idx"));
  }
}

TEST_CASE("MNIST by the name of its folder is complete or refused", "[idx]") {
  const ScratchFolder scratch;
  const EnvironmentGuard data("ZEROTH_DATA", scratch.path().string());
  make_small(scratch / "mnist");
  make_small(scratch / "FashionMNIST/raw");
  CHECK(find_dataset("mnist").folder == scratch / "mnist");
  CHECK(find_dataset("fashion-mnist").folder == scratch / "FashionMNIST/raw");
  CHECK(contains(message_of(ErrorKind::data, [] { load_dataset(find_dataset("mnist")); }),
                 "holds 12 pictures of 5 x 4, but mnist has 60000 of 28 x 28; remove it and run `zeroth data "
                 "fetch mnist`"));
  write_text(scratch / "mnist/train-images-idx3-ubyte.gz", packed_as(Packing::gzip, pictures(60000, 28, 28)));
  write_text(scratch / "mnist/train-labels-idx1-ubyte", labels(60000, 10));
  write_text(scratch / "mnist/t10k-images-idx3-ubyte", pictures(10000, 28, 28));
  write_text(scratch / "mnist/t10k-labels-idx1-ubyte.gz", packed_as(Packing::gzip, labels(10000, 10)));
  const Dataset set = load_dataset(find_dataset("mnist"));
  CHECK(set.origin == DataOrigin::unofficial);
  CHECK(set.train.count == 60000);
  CHECK(set.classes() == 10);
  CHECK(set.normalisation.mean == std::vector<float>{0.13066048f});
}

TEST_CASE("mean and deviation are measured, printed and read back", "[idx]") {
  Pictures pictures{2, 1, 2, 2, {0, 7, 255, 7, 0, 7, 255, 7}, {0, 0}};
  const Normalisation measured = measure_normalisation(pictures);
  CHECK(measured.mean == std::vector<float>{0.5f, 7.0f / 255.0f});
  CHECK(measured.stddev == std::vector<float>{0.5f, 1.0f});  // a constant channel is not divided by 0
  const Normalisation read = parse_normalisation(print(measured));
  CHECK(read.mean == measured.mean);
  CHECK(read.stddev == measured.stddev);
  for (const char* text : {"", "0.5", "0.5/", "/0.5", "0.5/0", "0.5/-1", "0.5,0.5/1", "nan/1", "0.5/inf",
                           "0.5,/1,1", "0.5/1x", "0.5 /1"}) {
    CHECK(contains(message_of(ErrorKind::usage, [&] { parse_normalisation(text); }), "expected means"));
  }
}

}  // namespace zeroth::test
