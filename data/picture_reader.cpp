#include "data/picture_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "data/resize.h"
#include "kernels/core/error.h"

namespace zeroth {

namespace {

/// A question is the size, and the path's bytes.
ChildProcess::Bytes answer(const PictureReader::Decode& decode, std::span<const std::uint8_t> question) {
  std::int32_t size = 0;
  std::memcpy(&size, question.data(), sizeof size);
  const auto name = question.subspan(sizeof size);
  const RgbPicture picture = decode(std::string(name.begin(), name.end()));
  const auto side = static_cast<std::size_t>(size);
  ChildProcess::Bytes square(side * side * 3);
  resample_square(picture.pixels, picture.width, picture.height, 3, size, square);
  return square;
}

}  // namespace

PictureReader::PictureReader(Decode decode, ChildLimits limits)
    : child_([decode = std::move(decode)](
                 std::span<const std::uint8_t> question) { return answer(decode, question); },
             limits) {}

void PictureReader::read_square(const std::filesystem::path& path, int size, std::span<std::uint8_t> square) {
  const std::int32_t side = size;
  ChildProcess::Bytes question(sizeof side);
  std::memcpy(question.data(), &side, sizeof side);
  const std::string& name = path.native();
  question.insert(question.end(), name.begin(), name.end());
  try {
    const ChildProcess::Bytes pixels = child_.ask(question);
    if (pixels.size() != square.size()) throw ChildFailed(fmt::format("gave {} bytes", pixels.size()));
    std::copy(pixels.begin(), pixels.end(), square.begin());
  } catch (const ChildFailed& failure) {
    fail(ErrorKind::data, fmt::format("{} cannot be decoded: the decoder {}; repair it or remove it",
                                      path.string(), failure.what()));
  }
}

}  // namespace zeroth
