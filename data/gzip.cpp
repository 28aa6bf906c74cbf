#include "data/gzip.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "data/files.h"
#include "kernels/core/error.h"

namespace zeroth {

namespace {

constexpr std::uint64_t kMostExpansion = 1032;
constexpr int kGzipOnly = 16 + MAX_WBITS;

}  // namespace

struct GzipReader::State {
  std::filesystem::path path;
  std::vector<std::uint8_t> file;
  z_stream stream{};
  bool packed = false, ended = false;
  std::size_t taken = 0;  // of a file that is not packed

  ~State() {
    if (packed) inflateEnd(&stream);
  }
  [[noreturn]] void fail_damaged(const char* reason) const {
    fail(ErrorKind::data, fmt::format("{} is truncated or damaged: {}", path.string(), reason));
  }
};

GzipReader::GzipReader(const std::filesystem::path& path, std::uint64_t most_bytes)
    : state_(std::make_unique<State>()) {
  state_->path = path;
  const std::uint64_t size = OpenFile(path, O_RDONLY).size();
  if (size > std::min<std::uint64_t>(most_bytes, std::numeric_limits<uInt>::max())) {
    fail(ErrorKind::data, fmt::format("{} has {} bytes: too large to be read", path.string(), size));
  }
  state_->file = read_file(path, 0, "");
  const std::vector<std::uint8_t>& file = state_->file;
  if (file.size() < 2 || file[0] != 0x1f || file[1] != 0x8b) return;
  if (inflateInit2(&state_->stream, kGzipOnly) != Z_OK) fail(ErrorKind::runtime, "zlib could not be started");
  state_->packed = true;
  state_->stream.next_in = const_cast<Bytef*>(file.data());
  state_->stream.avail_in = static_cast<uInt>(file.size());
}

GzipReader::~GzipReader() = default;

std::uint64_t GzipReader::file_bytes() const {
  return state_->file.size();
}

std::uint64_t GzipReader::most_bytes() const {
  return state_->file.size() * (state_->packed ? kMostExpansion : 1);
}

std::size_t GzipReader::read(std::span<std::uint8_t> bytes) {
  State& s = *state_;
  if (!s.packed) {
    const std::size_t count = std::min(bytes.size(), s.file.size() - s.taken);
    std::memcpy(bytes.data(), s.file.data() + s.taken, count);
    s.taken += count;
    return count;
  }
  std::size_t done = 0;
  while (done < bytes.size() && !s.ended) {
    const std::size_t piece = std::min<std::size_t>(bytes.size() - done, std::numeric_limits<uInt>::max());
    s.stream.next_out = bytes.data() + done;
    s.stream.avail_out = static_cast<uInt>(piece);
    const int status = inflate(&s.stream, Z_NO_FLUSH);
    done += piece - s.stream.avail_out;
    if (status == Z_STREAM_END) {
      s.ended = true;
      if (s.stream.avail_in != 0) s.fail_damaged("something follows the packed file");
    } else if (status == Z_BUF_ERROR ||
               (status == Z_OK && s.stream.avail_in == 0 && s.stream.avail_out != 0)) {
      s.fail_damaged("the packed file ends early");
    } else if (status != Z_OK) {
      s.fail_damaged(s.stream.msg == nullptr ? "not a packed file" : s.stream.msg);
    }
  }
  return done;
}

bool GzipReader::at_end() {
  std::uint8_t more = 0;
  return read({&more, 1}) == 0;
}

}  // namespace zeroth
