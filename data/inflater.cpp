#include "data/inflater.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "kernels/core/error.h"

namespace zeroth {

namespace {

constexpr std::size_t kMostAtOnce = std::numeric_limits<uInt>::max();

}  // namespace

Inflater::Inflater(std::filesystem::path path, std::span<const std::uint8_t> bytes, Packing packing)
    : path_(std::move(path)) {
  if (bytes.size() > kMostAtOnce) fail_damaged("too many packed bytes");
  if (inflateInit2(&stream_, packing == Packing::gzip ? 16 + MAX_WBITS : MAX_WBITS) != Z_OK) {
    fail(ErrorKind::runtime, "zlib could not be started");
  }
  stream_.next_in = const_cast<Bytef*>(bytes.data());
  stream_.avail_in = static_cast<uInt>(bytes.size());
}

Inflater::~Inflater() {
  inflateEnd(&stream_);
}

void Inflater::fail_damaged(const char* reason) const {
  fail(ErrorKind::data, fmt::format("{} is truncated or damaged: {}", path_.string(), reason));
}

std::size_t Inflater::read(std::span<std::uint8_t> bytes) {
  std::size_t done = 0;
  while (done < bytes.size() && !ended_) {
    const std::size_t piece = std::min(bytes.size() - done, kMostAtOnce);
    stream_.next_out = bytes.data() + done;
    stream_.avail_out = static_cast<uInt>(piece);
    const int status = inflate(&stream_, Z_NO_FLUSH);
    done += piece - stream_.avail_out;
    if (status == Z_STREAM_END) {
      ended_ = true;
      if (stream_.avail_in != 0) fail_damaged("something follows the packed bytes");
    } else if (status == Z_BUF_ERROR || (status == Z_OK && stream_.avail_in == 0 && stream_.avail_out != 0)) {
      fail_damaged("the packed bytes end early");
    } else if (status != Z_OK) {
      fail_damaged(stream_.msg == nullptr ? "not packed bytes" : stream_.msg);
    }
  }
  return done;
}

}  // namespace zeroth
