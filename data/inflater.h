#pragma once

#include <zlib.h>

#include <cstdint>
#include <filesystem>
#include <span>

#include "data/unpack.h"

namespace zeroth {

/// zlib's unpacking in this process; Unpacker runs it in a child. Its errors (data) name `path`, which the
/// bytes came from: "PATH is truncated or damaged: reason".
class Inflater {
 public:
  /// `bytes`, gzip or zlib, must outlive it. Errors: data, for more than 4 GB.
  Inflater(std::filesystem::path path, std::span<const std::uint8_t> bytes, Packing packing);
  ~Inflater();
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  /// Fills `bytes` or reaches the end; returns how many came. At the end the checksum is compared, and
  /// nothing may follow.
  std::size_t read(std::span<std::uint8_t> bytes);

 private:
  [[noreturn]] void fail_damaged(const char* reason) const;

  std::filesystem::path path_;
  z_stream stream_{};
  bool ended_ = false;
};

}  // namespace zeroth
