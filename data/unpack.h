#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

#include "data/child_process.h"

namespace zeroth {

enum class Packing : std::uint8_t { none, gzip, zlib };

/// gzip where bytes begin as such a file does, else none.
Packing packing_of(std::span<const std::uint8_t> bytes);

/// Reads bytes in memory, unpacking them, in a child process, where they are packed. Its errors (data) name
/// `path`, which they came from: "PATH is truncated or damaged: reason", "PATH cannot be unpacked: zlib
/// REASON".
class Unpacker {
 public:
  /// `bytes` must outlive the reader. Errors of read(): data, for more than 4 GB of packed bytes.
  Unpacker(std::filesystem::path path, std::span<const std::uint8_t> bytes, Packing packing);

  /// How many bytes can come out at most: deflate packs no better than 1032 to 1.
  std::uint64_t most_bytes() const;
  /// Reads until `bytes` is full or the end is reached; returns how many came. Packed bytes carry a checksum,
  /// which is compared when their end is read.
  std::size_t read(std::span<std::uint8_t> bytes);
  /// Whether nothing is left.
  bool at_end();

 private:
  std::size_t read_packed(std::span<std::uint8_t> bytes);

  std::filesystem::path path_;
  std::span<const std::uint8_t> bytes_;
  std::size_t taken_ = 0;                // of bytes that are not packed
  std::unique_ptr<ChildProcess> child_;  // none where they are not
};

/// Deflate's best: a byte of a packed file stands for no more than so many.
inline constexpr std::uint64_t kMostExpansion = 1032;

}  // namespace zeroth
