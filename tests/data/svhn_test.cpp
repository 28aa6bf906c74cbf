#include "data/svhn.h"

#include <cstring>

#include "data/lookup.h"
#include "data/mat5.h"
#include "tests/data/packed.h"
#include "tests/data/scratch.h"

namespace zeroth::test {
namespace fs = std::filesystem;
namespace {

std::string word(std::uint32_t value) {
  std::string bytes;
  for (const int shift : {0, 8, 16, 24}) bytes += static_cast<char>(value >> shift & 255);
  return bytes;
}

std::string part(std::uint32_t type, const std::string& bytes) {
  return word(type) + word(static_cast<std::uint32_t>(bytes.size())) + bytes +
         std::string((8 - bytes.size() % 8) % 8, '\0');
}

/// An array of MATLAB's class `kind` (9: uint8, 6: double) whose numbers lie as `type` (2: uint8, 9: double).
std::string array(const std::string& name, std::uint32_t kind, std::initializer_list<std::uint32_t> extents,
                  std::uint32_t type, const std::string& numbers) {
  std::string dimensions;
  for (const std::uint32_t extent : extents) dimensions += word(extent);
  // A name of up to four bytes lies in its tag, as MATLAB writes it.
  const std::string short_name =
      word(static_cast<std::uint32_t>(name.size()) << 16 | 1) + name + std::string(4 - name.size(), '\0');
  return part(14, part(6, word(kind) + word(0)) + part(5, dimensions) + short_name + part(type, numbers));
}

std::string packed(const std::string& element) {
  const std::string bytes = packed_as(Packing::zlib, element);
  return word(15) + word(static_cast<std::uint32_t>(bytes.size())) + bytes;
}

std::string mat_file(const std::string& elements) {
  std::string head = "MATLAB 5.0 MAT-file";
  head.resize(124, ' ');
  return head + std::string("\0\1IM", 4) + elements;
}

/// Value j of picture i of X is (i + 7 j) mod 251, in the order of the file.
std::string pixels(std::uint32_t count) {
  std::string bytes;
  for (std::uint32_t i = 0; i < count; ++i) {
    for (std::uint32_t j = 0; j < 3072; ++j) bytes += static_cast<char>((i + 7 * j) % 251);
  }
  return bytes;
}

std::string labels(std::uint32_t count) {
  std::string bytes;
  for (std::uint32_t i = 0; i < count; ++i) bytes += static_cast<char>(1 + i % 10);
  return bytes;
}

std::string svhn_file(std::uint32_t count) {
  return mat_file(packed(array("X", 9, {32, 32, 3, count}, 2, pixels(count))) +
                  packed(array("y", 6, {count, 1}, 2, labels(count))));
}

void make_svhn(const fs::path& folder) {
  write_text(folder / "train_32x32.mat", svhn_file(20));
  write_text(folder / "test_32x32.mat", svhn_file(10));
}

}  // namespace

TEST_CASE("SVHN's columns become rows, its ten a zero", "[svhn]") {
  const ScratchFolder scratch;
  const EnvironmentGuard data("ZEROTH_DATA", scratch.path().string());
  make_svhn(scratch / "svhn");
  const DatasetLocation location = find_dataset("svhn");
  CHECK(location.folder == scratch / "svhn");
  const Dataset set = load_dataset(location);
  CHECK(set.train.count == 20);
  CHECK(set.test.count == 10);
  CHECK(set.classes() == 10);
  CHECK(set.origin == DataOrigin::unofficial);
  CHECK_FALSE(set.mirrors);
  CHECK(set.train.labels[0] == 1);
  CHECK(set.train.labels[9] == 0);
  CHECK(set.class_names[0] == "0");
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < 20; ++i) {
    for (std::size_t row = 0; row < 32; ++row) {
      for (std::size_t column = 0; column < 32; ++column) {
        for (std::size_t c = 0; c < 3; ++c) {
          const std::size_t j = row + 32 * (column + 32 * c);
          wrong += set.train.pixels[3072 * i + (32 * row + column) * 3 + c] != (i + 7 * j) % 251;
        }
      }
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("the extra pictures follow the training pictures", "[svhn]") {
  const ScratchFolder scratch;
  make_svhn(scratch.path());
  CHECK(find_dataset(scratch.path().string()).name == "svhn");
  write_text(scratch / "extra_32x32.mat", svhn_file(30));
  const DatasetLocation location = find_dataset(scratch.path().string());
  CHECK(location.name == "svhn-extra");
  const Dataset set = load_dataset(location);
  CHECK(set.train.count == 50);
  CHECK(set.test.count == 10);
  CHECK(set.train.labels[20] == 1);
  // In a folder that is named after the smaller set the third file is left alone.
  fs::create_directories(scratch / "svhn");
  for (const char* name : {"train_32x32.mat", "test_32x32.mat", "extra_32x32.mat"})
    fs::copy(scratch / name, scratch / "svhn" / name);
  for (const char* end : {"svhn", "svhn/"}) CHECK(find_dataset((scratch / end).string()).name == "svhn");
  fs::remove_all(scratch / "svhn");
  fs::remove(scratch / "train_32x32.mat");
  CHECK(contains(message_of(ErrorKind::data, [&] { load_dataset(location); }),
                 "lacks train_32x32.mat of svhn-extra"));
}

TEST_CASE("a file that matio wrote", "[svhn]") {
  const std::vector<MatArray> arrays = read_mat5(fs::path(ZEROTH_FIXTURES) / "svhn-by-matio.mat", "");
  REQUIRE(arrays.size() == 2);
  CHECK(arrays[0].name == "X");
  CHECK(arrays[0].extents == std::vector<std::uint64_t>{32, 32, 3, 20});
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < arrays[0].bytes.size(); ++i)
    wrong += arrays[0].bytes[i] != (7 * i + i / 3072) % 251;
  CHECK(wrong == 0);
  CHECK(arrays[1].name == "y");
  CHECK(arrays[1].numbers().size() == 20);
  CHECK(arrays[1].numbers()[12] == 3.0);
}

TEST_CASE("SVHN files that are not in order are named in one line", "[svhn]") {
  const ScratchFolder scratch;
  make_svhn(scratch.path());
  const fs::path path = scratch / "train_32x32.mat";
  const auto failure = [&] {
    const std::string message = message_of(ErrorKind::data, [&] { read_svhn(scratch.path(), "svhn"); });
    CHECK(contains(message, path.string()));
    return message;
  };
  const auto with = [&](const std::string& elements) {
    write_text(path, mat_file(elements));
    return failure();
  };
  const std::string x = array("X", 9, {32, 32, 3, 2}, 2, pixels(2)), y = array("y", 6, {2, 1}, 2, labels(2));
  SECTION("cut anywhere") {
    const std::string whole = svhn_file(2);
    for (std::size_t length = 0; length < whole.size();
         length += length < 200 || length + 200 > whole.size() ? 1 : 37) {
      write_text(path, whole.substr(0, length));
      failure();
    }
    const std::string plain = mat_file(x + y);
    for (std::size_t length = 0; length < plain.size();
         length += length < 300 || length + 200 > plain.size() ? 1 : 101) {
      write_text(path, plain.substr(0, length));
      failure();
    }
  }
  SECTION("a bit changed in what is packed") {
    const std::string whole = svhn_file(2);
    write_text(path, whole);
    const std::uint64_t right = read_svhn(scratch.path(), "svhn").content_hash;
    std::size_t unseen = 0;  // deflate leaves a few bits unused: one of those changes nothing
    for (std::size_t at = 128; at < whole.size(); ++at) {
      std::string bad = whole;
      bad[at] = static_cast<char>(bad[at] ^ 4);
      write_text(path, bad);
      try {
        unseen += read_svhn(scratch.path(), "svhn").content_hash != right;
      } catch (const Error& error) {
        CHECK(error.kind() == ErrorKind::data);
      }
    }
    CHECK(unseen == 0);
  }
  SECTION("another format") {
    write_text(path, "<!DOCTYPE html>" + std::string(500, ' '));
    CHECK(contains(failure(), "is no MATLAB file of version 5; remove it and run `zeroth data fetch svhn`"));
    write_text(path, std::string("\x89HDF\r\n\x1a\n") + std::string(500, ' '));
    CHECK(contains(failure(), "is no MATLAB file of version 5"));
  }
  SECTION("a header that promises more than can be there") {
    CHECK(contains(with(array("X", 9, {32, 32, 3, 0x40000000}, 2, pixels(2)) + y),
                   "promises too many numbers"));
    CHECK(contains(with(array("X", 9, {32, 32, 3, 1000000}, 2, pixels(2)) + y),
                   "other bytes than its extents"));
    std::string forged = array("X", 9, {32, 32, 3, 1000000}, 2, "");
    forged.replace(forged.size() - 4, 4, word(3072000000u));
    CHECK(contains(with(packed(forged)), "promises 3072000000 bytes in X, which do not fit"));
  }
  SECTION("other variables") {
    CHECK(contains(with(x), "holds no variable y"));
    CHECK(contains(with(array("X", 6, {32, 32, 3, 2}, 9, std::string(8 * 6144, '\0')) + y),
                   "something else than 32 x 32 x 3 x N bytes"));
    CHECK(contains(with(array("X", 9, {3072, 2}, 2, pixels(2)) + y),
                   "something else than 32 x 32 x 3 x N bytes"));
    CHECK(contains(with(x + array("y", 6, {1, 2}, 2, labels(2))), "not as many labels"));
    CHECK(contains(with(part(14, part(6, word(1) + word(0)))), "not of real numbers"));  // a cell array
    CHECK(contains(with(part(14, part(6, word(6 | 0x800) + word(0)))), "not of real numbers"));
  }
  SECTION("labels that are none") {
    CHECK(contains(with(x + array("y", 6, {2, 1}, 2, std::string("\0\1", 2))),
                   "holds the label 0, expected 1 to 10"));
    CHECK(contains(with(x + array("y", 6, {2, 1}, 2, "\x01\x0b")), "holds the label 11"));
    double halves[2] = {1.5, std::numeric_limits<double>::quiet_NaN()};
    std::string numbers(16, '\0');
    std::memcpy(numbers.data(), halves, 16);
    CHECK(contains(with(x + array("y", 6, {2, 1}, 9, numbers)), "holds the label 1.5"));
    std::swap(halves[0], halves[1]);
    std::memcpy(numbers.data(), halves, 16);
    CHECK(contains(with(x + array("y", 6, {2, 1}, 9, numbers)), "holds the label nan"));
  }
}

}  // namespace zeroth::test
