#include "data/unpack.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "kernels/core/error.h"

namespace zeroth {

namespace {

constexpr std::uint64_t kMostExpansion = 1032;
constexpr std::size_t kMostAtOnce = std::numeric_limits<uInt>::max();

}  // namespace

Packing packing_of(std::span<const std::uint8_t> bytes) {
  return bytes.size() >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b ? Packing::gzip : Packing::none;
}

struct Unpacker::State {
  std::filesystem::path path;
  std::span<const std::uint8_t> bytes;
  Packing packing = Packing::none;
  z_stream stream{};
  bool ended = false;
  std::size_t taken = 0;  // of bytes that are not packed

  ~State() {
    if (packing != Packing::none) inflateEnd(&stream);
  }
  [[noreturn]] void fail_damaged(const char* reason) const {
    fail(ErrorKind::data, fmt::format("{} is truncated or damaged: {}", path.string(), reason));
  }
};

Unpacker::Unpacker(std::filesystem::path path, std::span<const std::uint8_t> bytes, Packing packing)
    : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.path = std::move(path);
  s.bytes = bytes;
  if (packing == Packing::none) return;
  if (bytes.size() > kMostAtOnce) s.fail_damaged("too many packed bytes");
  if (inflateInit2(&s.stream, packing == Packing::gzip ? 16 + MAX_WBITS : MAX_WBITS) != Z_OK) {
    fail(ErrorKind::runtime, "zlib could not be started");
  }
  s.packing = packing;
  s.stream.next_in = const_cast<Bytef*>(bytes.data());
  s.stream.avail_in = static_cast<uInt>(bytes.size());
}

Unpacker::~Unpacker() = default;

std::uint64_t Unpacker::most_bytes() const {
  return state_->bytes.size() * (state_->packing == Packing::none ? 1 : kMostExpansion);
}

std::size_t Unpacker::read(std::span<std::uint8_t> bytes) {
  State& s = *state_;
  if (s.packing == Packing::none) {
    const std::size_t count = std::min(bytes.size(), s.bytes.size() - s.taken);
    std::copy_n(s.bytes.begin() + static_cast<std::ptrdiff_t>(s.taken), count, bytes.begin());
    s.taken += count;
    return count;
  }
  std::size_t done = 0;
  while (done < bytes.size() && !s.ended) {
    const std::size_t piece = std::min(bytes.size() - done, kMostAtOnce);
    s.stream.next_out = bytes.data() + done;
    s.stream.avail_out = static_cast<uInt>(piece);
    const int status = inflate(&s.stream, Z_NO_FLUSH);
    done += piece - s.stream.avail_out;
    if (status == Z_STREAM_END) {
      s.ended = true;
      if (s.stream.avail_in != 0) s.fail_damaged("something follows the packed bytes");
    } else if (status == Z_BUF_ERROR ||
               (status == Z_OK && s.stream.avail_in == 0 && s.stream.avail_out != 0)) {
      s.fail_damaged("the packed bytes end early");
    } else if (status != Z_OK) {
      s.fail_damaged(s.stream.msg == nullptr ? "not packed bytes" : s.stream.msg);
    }
  }
  return done;
}

bool Unpacker::at_end() {
  std::uint8_t more = 0;
  return read({&more, 1}) == 0;
}

}  // namespace zeroth
