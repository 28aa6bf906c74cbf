#include "data/mat5.h"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <span>

#include "data/files.h"
#include "data/unpack.h"
#include "kernels/core/error.h"

namespace zeroth {
namespace fs = std::filesystem;

namespace {

constexpr std::size_t kHeader = 128, kTag = 8, kMostExtents = 8, kLongestName = 64;
constexpr std::uint64_t kMostElements = std::uint64_t{1} << 34;
constexpr std::uint32_t kTypeMatrix = 14, kTypeCompressed = 15;
constexpr std::uint32_t kFlagComplex = 0x800;
constexpr std::uint32_t kFirstNumericClass = 6, kLastNumericClass = 13;  // mxDOUBLE_CLASS to mxUINT32_CLASS

std::uint32_t word_at(const std::uint8_t* bytes) {
  return std::uint32_t{bytes[3]} << 24 | std::uint32_t{bytes[2]} << 16 | std::uint32_t{bytes[1]} << 8 |
         bytes[0];
}

/// Bytes of a number; 0 for a type that is none.
std::uint64_t size_of(std::uint32_t type) {
  switch (type) {
    case 1:
    case 2:
      return 1;
    case 3:
    case 4:
      return 2;
    case 5:
    case 6:
    case 7:
      return 4;
    case 9:
      return 8;
    default:
      return 0;
  }
}

template <class T>
void widen(const std::vector<std::uint8_t>& bytes, std::vector<double>& numbers) {
  for (std::size_t at = 0; at < bytes.size(); at += sizeof(T)) {
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof(T));
    numbers.push_back(static_cast<double>(value));
  }
}

/// One array, read part by part.
class ArrayReader {
 public:
  ArrayReader(const fs::path& path, const std::string& advice, std::span<const std::uint8_t> bytes,
              Packing packing)
      : path_(path), advice_(advice), source_(path, bytes, packing) {}

  MatArray read() {
    const Tag matrix = read_tag();
    if (matrix.type != kTypeMatrix || matrix.small) fail_file("holds something that is no array");
    taken_ = 0;
    MatArray array;
    const std::vector<std::uint8_t> flags = read_part(6, 8);
    const std::uint32_t word = word_at(flags.data()), kind = word & 0xff;
    if (flags.size() != 8 || kind < kFirstNumericClass || kind > kLastNumericClass ||
        (word & kFlagComplex) != 0) {
      fail_file("holds an array that is not of real numbers");
    }
    const std::vector<std::uint8_t> extents = read_part(5, 4 * kMostExtents);
    std::uint64_t count = 1;
    for (std::size_t at = 0; at + 4 <= extents.size(); at += 4) {
      const std::uint64_t extent = word_at(extents.data() + at);
      array.extents.push_back(extent);
      if (extent > kMostElements || (count *= extent) > kMostElements) fail_file("promises too many numbers");
    }
    const std::vector<std::uint8_t> name = read_part(1, kLongestName);
    array.name.assign(name.begin(), name.end());
    read_numbers(array, count);
    if (taken_ != matrix.bytes || !source_.at_end()) {
      fail_file(fmt::format("is damaged: the parts of {} do not fill it", array.name));
    }
    return array;
  }

 private:
  struct Tag {
    std::uint32_t type, bytes;
    bool small;
    std::array<std::uint8_t, 4> data;  // of a small part
  };

  [[noreturn]] void fail_file(const std::string& what) const {
    fail(ErrorKind::data, fmt::format("{} {}{}", path_.string(), what, advice_));
  }
  void read_all(std::span<std::uint8_t> bytes) {
    if (source_.read(bytes) != bytes.size()) fail_file("is truncated");
    taken_ += bytes.size();
  }
  Tag read_tag() {
    std::array<std::uint8_t, kTag> raw{};
    read_all(raw);
    const std::uint32_t first = word_at(raw.data()), second = word_at(raw.data() + 4);
    if (first >> 16 == 0) return {first, second, false, {}};
    return {first & 0xffff, first >> 16, true, {raw[4], raw[5], raw[6], raw[7]}};
  }
  /// A part of that type and at most so many bytes, with what fills it up to a multiple of 8.
  std::vector<std::uint8_t> read_part(std::uint32_t type, std::size_t most) {
    const Tag tag = read_tag();
    if (tag.type != type || tag.bytes > (tag.small ? tag.data.size() : most) ||
        (type == 6 && tag.bytes < 8)) {
      fail_file("is damaged: an array does not begin as it should");
    }
    if (tag.small) return {tag.data.begin(), tag.data.begin() + tag.bytes};
    std::vector<std::uint8_t> bytes(tag.bytes);
    read_all(bytes);
    skip_padding(tag.bytes);
    return bytes;
  }
  void skip_padding(std::uint64_t bytes) {
    std::array<std::uint8_t, 8> padding{};
    read_all(std::span(padding).first((8 - bytes % 8) % 8));
  }
  void read_numbers(MatArray& array, std::uint64_t count) {
    const Tag tag = read_tag();
    const std::uint64_t size = size_of(tag.type);
    if (size == 0 || tag.bytes != count * size || (tag.small && tag.bytes > tag.data.size())) {
      fail_file(fmt::format("is damaged: {} has other bytes than its extents ask for", array.name));
    }
    array.type = static_cast<MatType>(tag.type);
    if (tag.small) {
      array.bytes.assign(tag.data.begin(), tag.data.begin() + tag.bytes);
      return;
    }
    if (tag.bytes > source_.most_bytes()) {
      fail_file(fmt::format("promises {} bytes in {}, which do not fit into it", tag.bytes, array.name));
    }
    array.bytes.resize(tag.bytes);
    read_all(array.bytes);
    skip_padding(tag.bytes);
  }

  const fs::path& path_;
  const std::string& advice_;
  Unpacker source_;
  std::uint64_t taken_ = 0;
};

}  // namespace

std::vector<double> MatArray::numbers() const {
  std::vector<double> all;
  all.reserve(bytes.size() / size_of(static_cast<std::uint32_t>(type)));
  switch (type) {
    case MatType::i8:
      widen<std::int8_t>(bytes, all);
      break;
    case MatType::u8:
      widen<std::uint8_t>(bytes, all);
      break;
    case MatType::i16:
      widen<std::int16_t>(bytes, all);
      break;
    case MatType::u16:
      widen<std::uint16_t>(bytes, all);
      break;
    case MatType::i32:
      widen<std::int32_t>(bytes, all);
      break;
    case MatType::u32:
      widen<std::uint32_t>(bytes, all);
      break;
    case MatType::f32:
      widen<float>(bytes, all);
      break;
    case MatType::f64:
      widen<double>(bytes, all);
      break;
  }
  return all;
}

std::vector<MatArray> read_mat5(const fs::path& path, const std::string& advice) {
  const std::string mend = advice.empty() ? "" : "; " + advice;
  const std::vector<std::uint8_t> file = read_file(path, 0, advice);
  const auto refuse = [&](const char* what) {
    fail(ErrorKind::data, fmt::format("{} {}{}", path.string(), what, mend));
  };
  if (file.size() < kHeader || file[124] != 0 || file[125] != 1 || file[126] != 'I' || file[127] != 'M') {
    refuse("is no MATLAB file of version 5");
  }
  std::vector<MatArray> arrays;
  std::size_t at = kHeader;
  while (at < file.size()) {
    if (file.size() - at < kTag) refuse("is truncated");
    const std::uint32_t type = word_at(file.data() + at), bytes = word_at(file.data() + at + 4);
    if (type != kTypeMatrix && type != kTypeCompressed) refuse("holds something that is no array");
    if (bytes > file.size() - at - kTag) refuse("is truncated");
    const std::span<const std::uint8_t> element(file.data() + at, kTag + bytes);
    arrays.push_back(type == kTypeMatrix
                         ? ArrayReader(path, mend, element, Packing::none).read()
                         : ArrayReader(path, mend, element.subspan(kTag), Packing::zlib).read());
    at += element.size();
  }
  return arrays;
}

}  // namespace zeroth
