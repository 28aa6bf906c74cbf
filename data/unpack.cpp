#include "data/unpack.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "data/inflater.h"
#include "kernels/core/error.h"

namespace zeroth {

namespace {

constexpr std::size_t kPiece = std::size_t{1} << 22;  // of one answer of the child

}  // namespace

Packing packing_of(std::span<const std::uint8_t> bytes) {
  return bytes.size() >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b ? Packing::gzip : Packing::none;
}

Unpacker::Unpacker(std::filesystem::path path, std::span<const std::uint8_t> bytes, Packing packing)
    : path_(std::move(path)), bytes_(bytes) {
  if (packing == Packing::none) return;
  auto inflater = std::make_shared<std::unique_ptr<Inflater>>();  // the child's, made at the first question
  child_ = std::make_unique<ChildProcess>([=, path = path_](std::span<const std::uint8_t> question) {
    std::uint64_t count = 0;
    std::memcpy(&count, question.data(), sizeof count);
    if (*inflater == nullptr) *inflater = std::make_unique<Inflater>(path, bytes, packing);
    ChildProcess::Bytes answer(count);
    answer.resize((*inflater)->read(answer));
    return answer;
  });
}

std::uint64_t Unpacker::most_bytes() const {
  return bytes_.size() * (child_ == nullptr ? 1 : kMostExpansion);
}

std::size_t Unpacker::read_packed(std::span<std::uint8_t> bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const std::uint64_t wanted = std::min(bytes.size() - done, kPiece);
    std::array<std::uint8_t, sizeof wanted> question;
    std::memcpy(question.data(), &wanted, sizeof wanted);
    const ChildProcess::Bytes piece = child_->ask(question);
    if (piece.size() > wanted) throw ChildFailed("answered more than it was asked for");
    std::copy(piece.begin(), piece.end(), bytes.begin() + static_cast<std::ptrdiff_t>(done));
    done += piece.size();
    if (piece.size() < wanted) break;
  }
  return done;
}

std::size_t Unpacker::read(std::span<std::uint8_t> bytes) {
  if (child_ != nullptr) {
    try {
      return read_packed(bytes);
    } catch (const ChildFailed& failure) {
      fail(ErrorKind::data, fmt::format("{} cannot be unpacked: zlib {}", path_.string(), failure.what()));
    }
  }
  const std::size_t count = std::min(bytes.size(), bytes_.size() - taken_);
  std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(taken_), count, bytes.begin());
  taken_ += count;
  return count;
}

bool Unpacker::at_end() {
  std::uint8_t more = 0;
  return read({&more, 1}) == 0;
}

}  // namespace zeroth
